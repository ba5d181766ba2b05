//! What a request would run, without running it: everything that a run is rejected for is checked here too, except
//! for the slot.

use super::{context::RunContext, manager::RunManager, resume};
use crate::{
    compute::Error,
    ids::RunId,
    nn::Shape,
    train::{self, RunPlan, ValidTrainConfig},
};

impl RunManager {
    /// What a request would run; resuming `run` if that is given. Reads the data as the run would.
    pub async fn plan(&self, config: ValidTrainConfig, run: Option<RunId>) -> Result<RunPlan, Error> {
        let context = &self.context;
        let summary = match run {
            Some(run) if self.holds(run) => return Err(Error::run_not_ended(run)),
            Some(run) => Some(resume::find(context, run, config.config()).await?.0),
            None => {
                check_initial(context, &config).await?;
                None
            }
        };
        let images = {
            let _permit = context.reading_permit().await?;
            let (splits, digests) = context.load_images(config.config()).await?;
            if let Some(summary) = &summary {
                resume::check_data(summary, &digests)?;
            }
            [splits.train.len(), splits.validation.len()]
        };
        Ok(RunPlan::new(config, images)?)
    }

    /// The device that runs compute on.
    pub fn device(&self) -> String {
        train::device_name(self.context.device)
    }
}

/// Checks that the version to start from exists, is whole, and fits the request's layers. No tensor is made: the
/// training thread may be busy for hours.
async fn check_initial(context: &RunContext, config: &ValidTrainConfig) -> Result<(), Error> {
    let Some((manifest, _)) = context.initial_version(config.config()).await? else { return Ok(()) };
    let input = Shape::grey(manifest.height, manifest.width);
    let shapes = manifest.network.shapes(input, manifest.classes);
    let shapes = shapes.map_err(|error| Error::Corrupt {
        message: format!("version {} of {} has no network: {error}", manifest.version, manifest.model),
    })?;
    Ok(config.config().check_initial(config.shapes(), &shapes)?)
}
