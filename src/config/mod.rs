//! The settings of a server: their types and defaults (`settings`), the flags that set them (`flags`), custom
//! data sets among them (`custom_datasets`), and how flags, environment, file and defaults are merged (`load`).
//! Reads settings and acts on none.

mod custom_datasets;
mod env;
mod error;
mod flags;
mod load;
mod settings;
mod show;

pub use custom_datasets::NamedFolder;
pub use error::Error;
pub use flags::{EngineFlags, Flags};
pub use load::{load, variables};
pub use settings::{
    Client, Compute, Data, Fetch, HttpAddr, Log, ServerSettings, Serving, ServingPrecision, Settings, Store,
    Tensorboard, TimeSpan,
};
