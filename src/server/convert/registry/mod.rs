//! `RegistryService`: messages of models, versions, aliases and imports.

pub mod alias;
pub mod import;
pub mod version;
