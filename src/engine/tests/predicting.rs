//! Predictions through the engine: which version predicts, and what it refuses.

use super::*;

#[tokio::test]
async fn a_moved_alias_and_a_new_version_serve_at_once() {
    let registry = memory().await;
    let engine = engine(&registry).await;
    let version =
        async || predict(&engine, &ModelRef::default()).await.map(|prediction| prediction.version.get());
    for expected in [1, 2] {
        testing::publish(&registry, &weights()).await;
        assert_eq!(version().await.unwrap(), expected);
    }
    let to =
        AliasUpdate { version: Version::FIRST, expected: Precondition::Unset, note: AuditNote::default() };
    registry.set_alias(&testing::digits(), &Alias::production(), to).await.unwrap();
    assert_eq!(version().await.unwrap(), 1);
}

#[tokio::test]
async fn more_versions_than_stay_loaded_all_predict() {
    let registry = memory().await;
    for _ in 0..11 {
        testing::publish(&registry, &weights()).await;
    }
    let engine = engine(&registry).await;
    for number in (1..=11).chain([1]) {
        let version = Version::try_from(number).unwrap();
        let model = ModelRef { which: VersionSelector::Version(version), ..ModelRef::default() };
        assert_eq!(predict(&engine, &model).await.unwrap().version, version);
    }
}

#[tokio::test]
async fn predictions_come_in_the_order_of_their_images_which_are_checked() {
    let engine = engine(&memory().await).await;
    let run = train(&engine, short()).await.unwrap();
    events(&engine, run).await;
    let model = ModelRef::default();
    let pixels: Vec<u8> = (0..150 * 784).map(|at| (at / 784 * at % 251) as u8).collect();
    let floats: Vec<f32> = pixels.iter().map(|value| f32::from(*value) / 255.0).collect();
    let bulk = read(&engine, &model, ImageBatch::Bytes(pixels.clone().into()), None).await.unwrap();
    assert_eq!(bulk.probabilities.len(), 1500);
    let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
    for same in [ImageBatch::Floats(floats), ImageBatch::FloatBytes(bytes.into())] {
        assert_eq!(read(&engine, &model, same, None).await.unwrap(), bulk);
    }
    for index in [0, 63, 64, 149] {
        let one = pixels[index * 784..(index + 1) * 784].to_vec();
        let one = read(&engine, &model, ImageBatch::Bytes(one.into()), None).await.unwrap();
        let of_bulk = &bulk.probabilities[index * 10..(index + 1) * 10];
        assert!(one.probabilities.iter().zip(of_bulk).all(|(a, b)| (a - b).abs() < 1e-5), "image {index}");
    }
    let torn = ImageBatch::FloatBytes(vec![0; 784 * 4 - 3].into());
    for bad in [ImageBatch::Bytes(vec![0; 783].into()), ImageBatch::Floats(vec![0.0; 785]), torn] {
        let refused = read(&engine, &model, bad, None).await;
        assert!(matches!(refused, Err(Error::InvalidField(invalid)) if invalid.field == "images"));
    }
    let late = read(&engine, &model, ImageBatch::Bytes(vec![0; 784].into()), Some(Instant::now())).await;
    assert!(matches!(late, Err(Error::DeadlineExceeded)));
}

#[tokio::test]
async fn weights_of_another_network_are_reported_as_corrupt() {
    let registry = memory().await;
    testing::publish(&registry, b"not safetensors").await;
    // The server starts anyway: it can train, and reports the error to callers that predict.
    let engine = engine(&registry).await;
    let refused = predict(&engine, &ModelRef::default()).await;
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
}
