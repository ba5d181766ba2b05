//! Custom data sets for `digitd data info`: each is read as a run would read it.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    data::{
        Error,
        custom::{CustomDatasets, TrainTestSets},
    },
    ids::DatasetName,
    report::text::count,
};

/// The contents of a folder, or the error of reading it.
pub struct CustomDataset {
    name: DatasetName,
    folder: PathBuf,
    parts: Result<Option<TrainTestSets>, Error>,
}

/// Reads every folder.
pub fn read_all(folders: BTreeMap<DatasetName, PathBuf>) -> Vec<CustomDataset> {
    let sets = CustomDatasets::new(folders.clone());
    let read =
        |(name, folder): (DatasetName, PathBuf)| CustomDataset { parts: sets.read(&name), name, folder };
    folders.into_iter().map(read).collect()
}

impl CustomDataset {
    /// Whether it cannot be used.
    pub fn is_broken(&self) -> bool {
        !matches!(self.parts, Ok(Some(_)))
    }

    /// The data set in lines of text.
    pub fn text(&self) -> String {
        let head = format!("{} in {}:\n", self.name, self.folder.display());
        let TrainTestSets { train, test } = match &self.parts {
            Ok(Some(parts)) => parts,
            Ok(None) => return head,
            Err(error) => return format!("{head}  broken   {error}\n"),
        };
        let number = |images: usize| count(i64::try_from(images).unwrap_or(i64::MAX));
        let mut text = format!(
            "{head}  ok       {} images for training and validation, {} for testing, {}x{} pixels, {} classes\n",
            number(train.len()),
            number(test.len()),
            train.height(),
            train.width(),
            train.classes()
        );
        if !train.class_names().is_empty() {
            text += &format!("           classes {}\n", train.class_names().join(", "));
        }
        text + &format!(
            "           SHA-256 {} (training)\n           SHA-256 {} (test)\n",
            train.digest(),
            test.digest()
        )
    }

    /// The data set as JSON.
    pub fn json(&self) -> serde_json::Value {
        let (name, folder) = (self.name.as_str(), &self.folder);
        match &self.parts {
            Ok(Some(TrainTestSets { train, test })) => serde_json::json!({
                "name": name, "folder": folder, "state": "ok", "problem": null,
                "height": train.height(), "width": train.width(),
                "classes": train.classes(), "class_names": train.class_names(),
                "train_images": train.len(), "train_digest": train.digest(),
                "test_images": test.len(), "test_digest": test.digest(),
            }),
            Ok(None) => serde_json::json!({ "name": name, "folder": folder, "state": "missing" }),
            Err(error) => serde_json::json!({
                "name": name, "folder": folder, "state": "broken", "problem": error.to_string(),
            }),
        }
    }
}
