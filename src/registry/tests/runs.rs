//! Stored runs.

use object_store::path::Path;

use crate::{
    ids::RunId,
    registry::{Append, Error, testing::TestStore},
};

pub async fn a_run_keeps_its_state_its_chunks_and_its_newest_checkpoint(store: TestStore) {
    let registry = &store.registry;
    let (runs, run) = (registry.runs(), RunId::new());
    assert!(matches!(runs.state::<u32>(run).await, Err(Error::RunNotFound(_))));
    runs.put_state(run, &7).await.unwrap();
    assert_eq!(runs.state::<u32>(run).await.unwrap(), 7);
    runs.put_events(run, 1, b"a\n".to_vec()).await.unwrap();
    runs.put_events(run, 1, b"a\nb\n".to_vec()).await.unwrap();
    assert_eq!(runs.append_events(run, 1, b"x".to_vec()).await.unwrap(), Append::Taken);
    assert_eq!(runs.append_events(run, 3, b"c\n".to_vec()).await.unwrap(), Append::Written);
    assert_eq!(runs.chunks(run).await.unwrap(), [1, 3]);
    assert_eq!(&runs.events(run, 1).await.unwrap()[..], b"a\nb\n");
    assert_eq!(runs.checkpoint(run).await.unwrap(), None);
    for step in [90, 500, 1000] {
        runs.put_checkpoint(run, step, vec![1; step as usize]).await.unwrap();
    }
    let (key, bytes) = runs.checkpoint(run).await.unwrap().unwrap();
    assert_eq!((key.as_str(), bytes.len()), ("checkpoints/0000001000.safetensors", 1000));
    let folder = Path::from_iter(["runs", &run.to_string(), "checkpoints"]);
    assert_eq!(registry.store.names(&folder).await.unwrap().len(), 1);
    let newer = RunId::new();
    runs.put_state(newer, &8).await.unwrap();
    assert_eq!(runs.list().await.unwrap(), [newer, run]);
}
