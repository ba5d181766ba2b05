//! Comparing two versions.

use super::{
    context::EncodedWeights,
    model_info::ModelInfo,
    requests::{ComparisonJob, VersionComparison},
    service::Analysis,
};
use crate::{
    compute::Error,
    data::dataset::Dims,
    ids::ModelName,
    inspect,
    registry::{ModelRef, VersionPage, VersionSelector},
};

impl Analysis {
    /// Compares two versions on the images of a split. Errors: `InvalidField`, `QueueFull`, and those of reading the
    /// versions and the data.
    pub async fn compare(&self, job: ComparisonJob) -> Result<VersionComparison, Error> {
        let _permit = self.admit()?;
        let after = self.find_version(&job.after).await?;
        let (old, weights) = match &job.before {
            Some(before) => self.find_version(before).await?,
            None => self.before(&after.0).await?,
        };
        check(&old, &after.0)?;
        let needs = vec![(job.dataset.clone(), job.split)];
        self.run_with_network(after, needs, move |context| {
            let dataset = context.model.dataset(job.dataset, "dataset")?;
            let images = context.images(&dataset, job.split, "dataset")?;
            if images.is_empty() {
                return Err(Error::field("split", format!("has no images in the {} part", job.split)));
            }
            let images = images.slice(0..job.max_images);
            let (before, _) = weights.decode(context.device)?;
            let both = (&before, &context.network);
            let difference = inspect::compare(both, &images, job.max_changed, &|| context.is_wanted());
            let difference = difference.ok_or(Error::DeadlineExceeded)?;
            Ok(VersionComparison {
                before: old.version_ref(),
                after: context.model.version_ref(),
                dataset: dataset.name,
                split: job.split,
                class_names: context.model.class_names,
                difference,
            })
        })
        .await
    }

    /// The version that another was trained from, or else the newest one before it.
    async fn before(&self, after: &ModelInfo) -> Result<(ModelInfo, EncodedWeights), Error> {
        let version = |model: &ModelName, version| ModelRef {
            name: model.clone(),
            which: VersionSelector::Version(version),
        };
        if let Some(parent) = &after.parent {
            match self.find_version(&version(&parent.model, parent.version)).await {
                // It may be deleted; the version before serves as well.
                Err(Error::ModelNotFound(_) | Error::VersionNotFound { .. }) => {}
                found => return found,
            }
        }
        let page = VersionPage { size: 1, before: after.version };
        let older = self.registry.versions(&after.model, page).await?.items;
        let before = older.first().map(|manifest| manifest.version).ok_or_else(|| {
            let message = "is left out, and there is no version before the other: name one";
            Error::field("before", message)
        })?;
        self.find_version(&version(&after.model, before)).await
    }
}

fn check(before: &ModelInfo, after: &ModelInfo) -> Result<(), Error> {
    let (Dims { height, width, classes }, other) = (before.dims, after.dims);
    if before.dims == other {
        return Ok(());
    }
    let message = format!(
        "reads {height} x {width} images of {classes} classes, and the other {} x {} of {}: compare versions \
         that read the same",
        other.height, other.width, other.classes
    );
    Err(Error::field("before", message))
}
