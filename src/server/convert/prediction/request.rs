//! Requests to predict.

use crate::{
    ids::FieldError,
    pb::digitd::v1,
    registry::ModelRef,
    server::convert::shared::{
        field::count,
        images::{ImageInputs, MAX_IMAGES_PER_CALL},
        reference,
    },
};

/// A prediction, before it is known whether the images suit the version.
#[derive(Debug)]
pub struct PredictParams {
    pub model: ModelRef,
    pub images: ImageInputs,
    /// How many labels to list for each image.
    pub top_k: usize,
}

pub fn predict_request(request: v1::PredictRequest) -> Result<PredictParams, FieldError> {
    Ok(PredictParams {
        model: reference::reference("model", request.model)?,
        top_k: count("top_k", request.top_k, 0..=MAX_TOP_K, 0)? as usize,
        images: ImageInputs {
            images: request.images,
            batch: request.pixel_batch,
            normalization: request.normalization,
            return_pngs: request.return_seen_png,
        },
    })
}

/// Largest `top_k`: as many labels as a data set can have classes.
const MAX_TOP_K: u32 = 100;

/// Most labels that one call may list for all its images: ten for each image of the largest call. A hundred for
/// each would take a hundred megabytes of memory.
const MAX_LISTED: usize = 10 * MAX_IMAGES_PER_CALL;

/// Errors if a call would list too many labels, for a version with images of `area` pixels and so many classes.
pub fn check_listed(params: &PredictParams, area: usize, classes: usize) -> Result<(), FieldError> {
    let ImageInputs { images, batch, .. } = &params.images;
    let labels = (images.len() + batch.len() / area) * params.top_k.min(classes);
    if labels <= MAX_LISTED {
        return Ok(());
    }
    let message = format!("lists {labels} labels: request at most {MAX_LISTED} a call");
    Err(FieldError::new("top_k", message))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_call_lists_ten_labels_for_each_image_or_more_for_fewer() {
        let of = |images: usize, top_k: i32| {
            let pixel_batch = Bytes::from(vec![0; images]);
            let request =
                v1::PredictRequest { pixel_batch, top_k: Some(top_k), ..v1::PredictRequest::default() };
            check_listed(&predict_request(request).unwrap(), 1, 47).map_err(|rejected| rejected.field)
        };
        assert_eq!((of(MAX_IMAGES_PER_CALL, 10), of(3000, 100)), (Ok(()), Ok(())));
        assert_eq!(of(MAX_IMAGES_PER_CALL, 11), Err("top_k".to_owned()));
    }

    #[test]
    fn more_labels_than_classes_are_rejected() {
        let request = v1::PredictRequest { top_k: Some(101), ..v1::PredictRequest::default() };
        assert_eq!(predict_request(request).unwrap_err().field, "top_k");
    }
}
