//! Two versions beside each other.

use super::{About, Analysis};
use crate::{
    data::dataset::Dims,
    engine::{Compared, ComparisonJob, Error},
    inspect,
    registry::{ModelRef, VersionPage, Which},
};

impl Analysis {
    pub async fn compare(&self, job: ComparisonJob) -> Result<Compared, Error> {
        let after = self.find_version(&job.after).await?;
        let before = match &job.before {
            Some(before) => before.clone(),
            None => self.before(&after.0).await?,
        };
        let (old, weights) = self.find_version(&before).await?;
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
            let difference = inspect::compare(&before, &sitter.network, &images, job.max_changed);
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
    async fn before(&self, after: &About) -> Result<ModelRef, Error> {
        if let Some(parent) = &after.parent {
            return Ok(ModelRef { name: parent.model.clone(), which: Which::Version(parent.version) });
        }
        let page = VersionPage { size: 1, before: after.version };
        let older = self.registry.versions(&after.model, page).await?.items;
        let before = older.first().map(|manifest| manifest.version).ok_or_else(|| {
            let message = "is left out, and there is no version before the other: name one";
            Error::field("before", message)
        })?;
        Ok(ModelRef { name: after.model.clone(), which: Which::Version(before) })
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
