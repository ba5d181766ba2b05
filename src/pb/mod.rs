//! The contract of `proto/` as Rust: the messages and client stubs of the `digitd-client` crate, beside
//! them the server traits that build.rs generates, and fields by their names. Meaning is given to them in
//! `server`.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};

pub use digitd_client::FILE_DESCRIPTOR_SET;

/// The project's own contract. The comments are those of the proto files.
pub mod digitd {
    #[allow(
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        rustdoc::all,
        reason = "generated code keeps its own style"
    )]
    pub mod v1 {
        pub use digitd_client::v1::*;

        tonic::include_proto!("digitd.v1");
    }
}

/// The Open Inference Protocol, which other projects define.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    rustdoc::all,
    reason = "generated code keeps its own style"
)]
pub mod inference {
    pub use digitd_client::inference::*;

    tonic::include_proto!("inference");
}

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("build.rs wrote the descriptor set"));

/// What a message is made of. `name` is its name in the package `digitd.v1`.
pub fn descriptor(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(&format!("digitd.v1.{name}")).expect("the message is of the contract")
}

/// Every call of the services that a descriptor set declares.
pub fn methods(descriptor_set: &[u8]) -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(descriptor_set).expect("a generated descriptor set is whole");
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// A message whose fields can be looked up by name.
pub fn dynamic(name: &str, message: &impl prost::Message) -> DynamicMessage {
    let mut dynamic = DynamicMessage::new(descriptor(name));
    dynamic.transcode_from(message).expect("the descriptor set describes the generated code");
    dynamic
}
