//! Five test images, shown with their labels and predictions.

use digitd_client::Client;

use crate::{
    cli::{error::Error, input::raw_image},
    data::{Catalog, DatasetSpec, Split, ValidationSize},
    pb::digitd::v1::{ModelRef, PredictRequest},
    report::text,
};

/// The number of images, the first of the test split.
const IMAGES: usize = 5;

/// Sends five test images of `dataset`; returns them next to each other, each with its label and its
/// prediction.
pub async fn predict_five(
    client: &Client,
    catalog: Catalog,
    dataset: &str,
    model: Option<ModelRef>,
) -> Result<String, Error> {
    let name = dataset.parse().map_err(|error: crate::ids::Error| Error::Usage(error.to_string()))?;
    let load = move || catalog.load_split(&DatasetSpec::whole(name), ValidationSize::default(), Split::Test);
    let set =
        tokio::task::spawn_blocking(load).await.map_err(|_| Error::Panicked("reading test images"))??;
    let images: Vec<_> = (0..set.len().min(IMAGES)).map(|index| raw_image(&set, index)).collect();
    let request = PredictRequest { model, images, ..Default::default() };
    let response = client.predict(request).await?;
    let shown: Vec<_> = response
        .predictions
        .iter()
        .enumerate()
        .map(|(index, prediction)| {
            let drawing = text::digit(set.image(index), set.width());
            (drawing, format!("{}: {}", set.label(index), text::prediction(prediction)))
        })
        .collect();
    Ok(text::side_by_side(&shown) + "(label: prediction and its probability)\n")
}
