//! Trains a classifier for one epoch, prints its progress, and classifies a drawn one and the PNG files
//! that are named.
//!
//! ```sh
//! digitd serve &
//! cargo run -p digitd-client --example train_and_predict -- seven.png
//! ```

#![allow(clippy::print_stdout, reason = "it is a program for a terminal")]

use std::{env, error::Error, fs};

use digitd_client::{
    Client,
    v1::{
        Dataset, Image, ModelRef, PredictRequest, TrainRequest, image::Form, model_ref::Which,
        train_event::Event,
    },
};

const SERVER: &str = "http://127.0.0.1:8001";

/// Rows of an image and pixels of each row.
const SIDE: usize = 28;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::connect(SERVER).await?;
    let version = train(&client).await?;

    let mut names = vec!["a drawn one".to_owned()];
    let mut images = vec![Image { form: Some(Form::Pixels(vertical_bar().into())) }];
    for path in env::args().skip(1) {
        images.push(Image { form: Some(Form::Encoded(fs::read(&path)?.into())) });
        names.push(path);
    }
    let model = Some(ModelRef { which: Some(Which::Version(version)), ..Default::default() });
    let response = client.predict(PredictRequest { model, images, ..Default::default() }).await?;
    for (name, prediction) in names.iter().zip(&response.predictions) {
        match (prediction.label, prediction.probability) {
            (Some(label), Some(probability)) => println!("{name}: {label}, probability {probability:.3}"),
            _ => println!("{name}: no digit"),
        }
    }
    Ok(())
}

/// Trains on the built-in data set, which needs no files, and returns the version that was published.
async fn train(client: &Client) -> Result<i32, Box<dyn Error>> {
    let dataset = Dataset { name: "synthetic".to_owned(), ..Default::default() };
    let request = TrainRequest { dataset: Some(dataset), epochs: Some(1), ..Default::default() };
    let mut events = client.train(request).await?;
    let mut version = None;
    while let Some(event) = events.next().await? {
        match event.event {
            Some(Event::Batch(batch)) => {
                println!("batch {}: loss {:.3}", batch.batch, batch.loss.unwrap_or(f64::NAN));
            }
            Some(Event::Epoch(epoch)) => {
                let accuracy = epoch.validation_accuracy.unwrap_or(f64::NAN);
                println!("epoch {}: validation accuracy {accuracy:.4}", epoch.epoch);
            }
            Some(Event::Finished(finished)) => version = finished.version,
            _ => {}
        }
    }
    version.ok_or_else(|| format!("run {} published no version", events.run_id()).into())
}

/// A one: a bar of ink (255) on background (0), row by row.
fn vertical_bar() -> Vec<u8> {
    let mut pixels = vec![0; SIDE * SIDE];
    for row in 5..23 {
        pixels[row * SIDE + 13..row * SIDE + 16].fill(255);
    }
    pixels
}
