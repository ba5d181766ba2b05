//! Five test images through the server, shown with what it read in them.

use crate::{
    cli::{Error, output, predict::pixels},
    client::Client,
    data::{Catalog, DatasetSpec, Split, ValidationSize},
    pb::digitd::v1::{ModelRef, PredictRequest},
};

/// The images: the first of the test part.
const IMAGES: usize = 5;

/// Sends five test images of `dataset` and shows them beside each other, each with its label and
/// the answer.
pub async fn read_five(
    client: &Client,
    catalog: Catalog,
    dataset: &str,
    model: Option<ModelRef>,
) -> Result<String, Error> {
    let name = dataset.parse().map_err(|error: crate::ids::Error| Error::Usage(error.to_string()))?;
    let load = move || catalog.load_split(&DatasetSpec::whole(name), ValidationSize::default(), Split::Test);
    let set =
        tokio::task::spawn_blocking(load).await.map_err(|_| Error::Panicked("reading test images"))??;
    let images: Vec<_> = (0..set.len().min(IMAGES)).map(|index| pixels(&set, index)).collect();
    let request = PredictRequest { model, images, ..Default::default() };
    let answer = client.predict(request).await?;
    let shown: Vec<_> = answer
        .predictions
        .iter()
        .enumerate()
        .map(|(index, prediction)| {
            let picture = output::digit(set.image(index), set.width());
            (picture, format!("{} is {}", set.label(index), output::prediction(prediction)))
        })
        .collect();
    Ok(output::side_by_side(&shown) + "(label, then what was read and how surely)\n")
}
