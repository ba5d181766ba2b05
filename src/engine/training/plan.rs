//! What a request would run, told without running it: all that a run is refused for is looked at here
//! too, but for the slot.

use super::Training;
use crate::{
    engine::{Error, resume},
    ids::RunId,
    nn::{LayerShape, Shape},
    train::{self, Plan, TrainConfig},
};

impl Training {
    /// What a request would run; resuming `run` where that is given. Reads the data as the run would.
    pub async fn plan(&self, config: TrainConfig, run: Option<RunId>) -> Result<Plan, Error> {
        let facts = self.facts(&config.dataset.name).await?;
        let shapes = config.check_for(facts.dims)?;
        let fold = match run {
            Some(run) if self.holds(run) => return Err(resume::not_ended(run)),
            Some(run) => Some(resume::find(&self.registry, self, run, &config).await?.0),
            None => {
                self.check_initial(&config, &shapes).await?;
                None
            }
        };
        let images = {
            // A set is large: no more of them at once than are read for requests to train.
            let reading = self.reading.acquire().await;
            let _permit = reading.map_err(|closed| Error::backend("reading the data set", closed))?;
            let (splits, digests) = self.load(&config).await?;
            if let Some(fold) = &fold {
                resume::check_data(fold, &digests)?;
            }
            [splits.train.len(), splits.validation.len()]
        };
        Ok(Plan::new(config, facts.dims, images, &shapes)?)
    }

    /// Where runs compute.
    pub fn device(&self) -> String {
        train::device_name(self.device)
    }

    /// Whether the version to start from is there, whole, and fits layers of these shapes. No tensor is
    /// made: the training thread may be taken for hours.
    async fn check_initial(&self, config: &TrainConfig, shapes: &[LayerShape]) -> Result<(), Error> {
        let Some((manifest, _)) = self.initial(config).await? else { return Ok(()) };
        let input = Shape::grey(manifest.height, manifest.width);
        let given = manifest.network.shapes(input, manifest.classes);
        let given = given.map_err(|error| Error::Corrupt {
            message: format!("version {} of {} has no network: {error}", manifest.version, manifest.model),
        })?;
        Ok(config.check_initial(shapes, &given)?)
    }
}
