//! What a run reports in addition to its metrics: batches layer by layer, and warnings.

use digitd::pb::digitd::v1::{self, optimizer::Rule, train_event::Event};

use super::{
    server::{TestServer, collect, finished, run_id, tiny, watch},
    status::{check_field, error},
};

fn at(epoch: i32, batch: i32) -> v1::InspectAt {
    v1::InspectAt { epoch, batch, shapes: true, contents: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_batch_is_shown_in_the_stream_and_again_after_a_restart() {
    let server = TestServer::start().await;
    let shapes_alone = v1::InspectAt { contents: false, ..at(2, 6) };
    let request = v1::TrainRequest { inspect_at: vec![at(1, 1), shapes_alone], ..tiny() };
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    assert_eq!(finished(&events).state(), v1::RunState::Completed);
    let inspections: Vec<&v1::BatchInspection> = events
        .iter()
        .filter_map(|event| match event.event.as_ref()? {
            Event::Inspection(inspection) => Some(inspection),
            _ => None,
        })
        .collect();
    let [full, bare] = inspections[..] else { panic!("{} inspections", inspections.len()) };
    assert_eq!((full.epoch, full.batch, full.step, bare.step), (1, 1, 1, 12));
    assert_eq!(full.input_shape, [50, 1, 28, 28]);
    let conv2 = &full.layers[3];
    assert_eq!((conv2.name.as_str(), conv2.output_shape.as_slice()), ("conv2", &[50, 20, 14, 14][..]));
    assert_eq!(conv2.hyperparameters["kernel_size"], "5");
    let output = conv2.output.as_ref().unwrap();
    assert_eq!((output.channels.len(), output.channels[0].output.len()), (1, 196));
    assert_eq!(output.channels[0].kernel.len(), 20 * 25);
    assert_eq!((output.sample_zero_fractions.len(), full.sample_images), (20, Some(50)));
    assert_eq!((full.logits.len(), full.probabilities.len()), (10, 10));
    assert!(full.label.is_some());
    assert!(bare.logits.is_empty() && bare.layers.iter().all(|layer| layer.output.is_none()));
    // The inspection immediately precedes the report of its batch.
    let place = events.iter().position(|event| matches!(event.event, Some(Event::Inspection(_)))).unwrap();
    assert!(matches!(&events[place + 1].event, Some(Event::Batch(batch)) if batch.step == 1));

    let server = TestServer::on(server.stop().await).await;
    let replay = server.training().watch_run(watch(&run_id(&events), 0)).await.unwrap().into_inner();
    assert_eq!(collect(replay).await, events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_the_run_does_not_have_is_rejected_before_it_starts() {
    let server = TestServer::start().await;
    for (inspect_at, field) in [
        (vec![at(3, 1)], "inspect_at[0].epoch"),
        (vec![at(1, 1), at(1, 7)], "inspect_at[1].batch"),
        (vec![at(1, 1), at(1, 1)], "inspect_at[1]"),
        (vec![at(0, 1)], "inspect_at[0].epoch"),
    ] {
        let request = v1::TrainRequest { inspect_at, ..tiny() };
        check_field(&error(server.training().train(request).await), field);
    }
    server.train().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_are_reported_once_in_the_stream_in_the_run_and_again_after_a_restart() {
    let server = TestServer::start().await;
    let rule = Rule::Sgd(v1::Sgd { learning_rate: Some(1e-9) });
    let optimizer = Some(v1::Optimizer { rule: Some(rule) });
    let request = v1::TrainRequest { optimizer, epochs: Some(4), ..tiny() };
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    assert_eq!(finished(&events).state(), v1::RunState::Completed);
    let warnings: Vec<&v1::Warning> = events
        .iter()
        .filter_map(|event| match event.event.as_ref()? {
            Event::Warning(warning) => Some(warning),
            _ => None,
        })
        .collect();
    let of = |rule| warnings.iter().filter(|warning| warning.rule() == rule).collect::<Vec<_>>();
    let ratios = of(v1::WarningRule::UpdateRatio);
    assert_eq!(
        ratios.iter().map(|it| &*it.parameter).collect::<Vec<_>>(),
        ["conv1.weight", "conv2.weight", "fc.weight"]
    );
    assert_eq!((ratios[0].epoch, ratios[0].batch, ratios[0].step), (3, Some(1), 13));
    let measured = &ratios[0].measurements[0];
    assert_eq!((measured.name.as_str(), measured.threshold), ("update_to_weight", Some(1e-6)));
    assert!(measured.value() < 1e-6 && ratios[0].advice.contains("raise the learning rate"), "{measured:?}");
    let [plateau] = of(v1::WarningRule::Plateau)[..] else { panic!("{warnings:?}") };
    assert_eq!((plateau.epoch, plateau.batch), (4, None));

    let request = v1::GetRunRequest { run_id: run_id(&events) };
    let run = server.training().get_run(request).await.unwrap().into_inner().run.unwrap();
    let rules: Vec<v1::WarningRule> = run.warnings().collect();
    assert!(
        rules.contains(&v1::WarningRule::UpdateRatio) && rules.contains(&v1::WarningRule::Plateau),
        "{rules:?}"
    );
    assert!(rules.len() < warnings.len(), "each rule once: {rules:?}");

    let server = TestServer::on(server.stop().await).await;
    let replay = server.training().watch_run(watch(&run_id(&events), 0)).await.unwrap().into_inner();
    assert_eq!(collect(replay).await, events);
}
