//! The settings of a server: what they are (`settings`), the flags that set them (`flags`), data
//! sets of one's own among them (`sets`), and how flag, environment, file and default come together (`load`). Reads settings; acts on none.

mod env;
mod flags;
mod load;
mod sets;
mod settings;
mod show;

pub use flags::{Flags, PlaceFlags};
pub use load::{Error, load, variables};
pub use sets::NamedFolder;
pub use settings::{
    Client, Compute, Data, Fetch, HttpAddr, Log, Server, Serving, ServingPrecision, Settings, Store,
    Tensorboard, Time,
};
