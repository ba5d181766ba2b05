//! Two versions beside each other.

use super::{About, Analysis, sitter::Weights};
use crate::{
    data::dataset::Dims,
    engine::{Compared, ComparisonJob, Error},
    ids::ModelName,
    inspect,
    registry::{ModelRef, VersionPage, Which},
};

impl Analysis {
    pub async fn compare(&self, job: ComparisonJob) -> Result<Compared, Error> {
        let _permit = self.admit()?;
        let after = self.find_version(&job.after).await?;
        let (old, weights) = match &job.before {
            Some(before) => self.find_version(before).await?,
            None => self.before(&after.0).await?,
        };
        check(&old, &after.0)?;
        let needs = vec![(job.dataset.clone(), job.split)];
        self.sit(after, needs, move |sitter| {
            let dataset = sitter.about.dataset(job.dataset, "dataset")?;
            let images = sitter.images(&dataset, job.split, "dataset")?;
            if images.is_empty() {
                return Err(Error::field("split", format!("has no images in the {} part", job.split)));
            }
            let images = images.slice(0..job.max_images);
            let (before, _) = weights.read(sitter.device)?;
            let both = (&before, &sitter.network);
            let difference = inspect::compare(both, &images, job.max_changed, &|| sitter.is_wanted());
            let difference = difference.ok_or(Error::DeadlineExceeded)?;
            Ok(Compared {
                before: old.version_ref(),
                after: sitter.about.version_ref(),
                dataset: dataset.name,
                split: job.split,
                class_names: sitter.about.class_names,
                difference,
            })
        })
        .await
    }

    /// The version that another was trained from, or else the newest one before it.
    async fn before(&self, after: &About) -> Result<(About, Weights), Error> {
        let version =
            |model: &ModelName, version| ModelRef { name: model.clone(), which: Which::Version(version) };
        if let Some(parent) = &after.parent {
            match self.find_version(&version(&parent.model, parent.version)).await {
                // It may be deleted, and the next one before serves as well.
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

fn check(before: &About, after: &About) -> Result<(), Error> {
    let (Dims { height, width, classes }, other) = (before.dims, after.dims);
    if before.dims == other {
        return Ok(());
    }
    let message = format!(
        "reads {height} x {width} pictures of {classes} classes, and the other {} x {} of {}: compare versions \
         that read the same",
        other.height, other.width, other.classes
    );
    Err(Error::field("before", message))
}
