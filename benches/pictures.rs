//! Measures the accuracy of the recipe FAST, trained on MNIST, on all 10 000 test images drawn large on noisy
//! paper and on the images themselves, over gRPC; on a part of them in other surroundings, such as cells with
//! borders and shadows; and the duration of decoding and normalization. It needs MNIST in DIGITD_DATA_DIR or
//! data/, and prints lines of JSON.

#![allow(clippy::print_stdout, reason = "figures are what a bench is for")]
#![allow(clippy::unwrap_used, reason = "drawing is shared with tests, which may")]

#[path = "../tests/it/drawing.rs"]
mod drawing;
mod program;
#[path = "../tests/it/surroundings.rs"]
mod surroundings;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use digitd::{
    data::{
        ImageSet, ImageSize,
        image::{self, Grayscale, Normalization, Quality},
        mnist::{self, Subset},
    },
    pb::digitd::v1::{
        Image, PredictRequest, Prediction, image::Form, prediction_service_client::PredictionServiceClient,
    },
};
use drawing::draw;
use program::Server;
use rayon::prelude::*;
use surroundings::{Surroundings, draw_in};
use tonic::transport::Channel;

/// Every so many images are drawn in each of the surroundings.
const STEP: usize = 5;

/// Images in a call.
const CALL: usize = 100;

/// The number of times that one image is decoded and normalised to measure the duration.
const TIMES: usize = 30;

#[tokio::main]
async fn main() {
    let folder = std::env::var_os("DIGITD_DATA_DIR").map_or_else(|| PathBuf::from("data"), PathBuf::from);
    let files = mnist::locate(Subset::Test, std::slice::from_ref(&folder));
    let files = files.expect("MNIST is in DIGITD_DATA_DIR or data/: `digitd data fetch` puts it there");
    let images = mnist::read(Subset::Test, &files).expect("MNIST's files are whole");
    time_normalising(images.image(0));

    let store = tempfile::tempdir().expect("a folder for the store");
    let mut train = digitd(store.path(), &folder);
    let train = train.args(["train", "--in-process", "--recipe", "fast", "--dataset", "mnist"]);
    assert!(train.stdout(Stdio::null()).status().expect("digitd starts").success());
    let server = Server::start(digitd(store.path(), &folder), &[]);
    let client = client(&server).await;
    let originals = read(&client, &images, None).await;
    let right = report("originals", &images, &originals, None);
    for (name, form) in [("png", drawing::Form::Png), ("jpeg", drawing::Form::Jpeg)] {
        let drawn = read(&client, &images, Some(form)).await;
        report(name, &images, &drawn, Some(&right));
    }
    for (surroundings, name) in Surroundings::ALL {
        let picture = |at: usize| Form::Encoded(draw_in(images.image(at), at as u64, surroundings).into());
        report_kind(name, &images, &read_some(&client, images.len(), &picture).await);
    }
    let inverted =
        |at: usize| Form::Pixels(images.image(at).iter().map(|ink| 255 - ink).collect::<Vec<u8>>().into());
    report_kind("raw with a light rim", &images, &read_some(&client, images.len(), &inverted).await);
    let flags = ["--serving-precision", "bfloat16"];
    let server = Server::start(digitd(store.path(), &folder), &flags);
    let rounded = read(&self::client(&server).await, &images, None).await;
    report("originals in bfloat16", &images, &rounded, Some(&right));
    let apart = |at: usize| {
        let pairs = originals[at].probabilities.iter().zip(&rounded[at].probabilities);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let mut apart: Vec<f32> = (0..images.len()).map(apart).collect();
    apart.sort_by(f32::total_cmp);
    println!(
        "{{\"what\": \"bfloat16\", \"probabilities_differ_by\": {{\"p50\": {:.6}, \"p99\": {:.4}, \"most\": {:.4}}}}}",
        apart[apart.len() / 2],
        apart[apart.len() * 99 / 100],
        apart[apart.len() - 1],
    );
}

async fn client(server: &Server) -> PredictionServiceClient<Channel> {
    PredictionServiceClient::new(server.connect().await).max_encoding_message_size(64 << 20)
}

/// Classifies all images, unchanged or drawn.
async fn read(
    client: &PredictionServiceClient<Channel>,
    images: &ImageSet,
    form: Option<drawing::Form>,
) -> Vec<Prediction> {
    let mut client = client.clone();
    let mut read = Vec::with_capacity(images.len());
    for start in (0..images.len()).step_by(CALL) {
        let picture = |at: usize| match form {
            None => Form::Pixels(images.image(at).to_vec().into()),
            Some(form) => Form::Encoded(draw(images.image(at), at as u64, form).into()),
        };
        let pictures = (start..start + CALL).into_par_iter().map(|at| Image { form: Some(picture(at)) });
        let request = PredictRequest { images: pictures.collect(), ..PredictRequest::default() };
        read.extend(client.predict(request).await.expect("a version is served").into_inner().predictions);
    }
    read
}

/// Classifies every `STEP`th of so many images.
async fn read_some(
    client: &PredictionServiceClient<Channel>,
    count: usize,
    picture: &(dyn Fn(usize) -> Form + Sync),
) -> Vec<Prediction> {
    let mut client = client.clone();
    let places: Vec<usize> = (0..count).step_by(STEP).collect();
    let mut read = Vec::with_capacity(places.len());
    for places in places.chunks(CALL) {
        let images = places.par_iter().map(|&at| Image { form: Some(picture(at)) }).collect();
        let request = PredictRequest { images, ..PredictRequest::default() };
        read.extend(client.predict(request).await.expect("a version is served").into_inner().predictions);
    }
    read
}

/// Prints a line about images in some surroundings: how many are read right and not flagged, how many wrong and not
/// flagged, and how many are flagged.
fn report_kind(name: &str, images: &ImageSet, read: &[Prediction]) {
    let share = |of: &dyn Fn(bool, bool) -> bool| {
        let is = |(at, read): &(usize, &Prediction)| {
            of(read.label == Some(images.label(at * STEP).into()), read.low_confidence())
        };
        read.iter().enumerate().filter(is).count() as f64 * 100.0 / read.len() as f64
    };
    println!(
        "{{\"what\": \"surroundings\", \"variant\": \"{name}\", \"right\": {:.2}, \"wrong\": {:.2}, \
         \"flagged\": {:.2}}}",
        share(&|is_right, is_flagged| is_right && !is_flagged),
        share(&|is_right, is_flagged| !is_right && !is_flagged),
        share(&|_, is_flagged| is_flagged),
    );
}

/// Prints a line; returns which images were classified correctly.
fn report(name: &str, images: &ImageSet, read: &[Prediction], originals: Option<&[bool]>) -> Vec<bool> {
    let right: Vec<bool> =
        read.iter().enumerate().map(|(at, read)| read.label == Some(images.label(at).into())).collect();
    let share = |of: &dyn Fn(usize) -> bool| {
        (0..images.len()).filter(|&at| of(at)).count() as f64 * 100.0 / images.len() as f64
    };
    let fell = originals.map_or(0.0, |before| share(&|at| before[at]) - share(&|at| right[at]));
    println!(
        "{{\"what\": \"pictures\", \"variant\": \"{name}\", \"accuracy\": {:.2}, \"fell_by\": {fell:.2}, \
         \"good\": {:.2}, \"low_confidence\": {:.2}, \"accuracy_of_the_confident\": {:.2}}}",
        share(&|at| right[at]),
        share(&|at| read[at].quality() == digitd::pb::digitd::v1::Quality::Good),
        share(&|at| read[at].low_confidence()),
        100.0 * share(&|at| right[at] && !read[at].low_confidence())
            / share(&|at| !read[at].low_confidence()),
    );
    right
}

/// The median duration of decoding and of normalization, by size.
fn time_normalising(digit: &[u8]) {
    let median = |work: &mut dyn FnMut()| {
        let mut times: Vec<f64> = (0..TIMES)
            .map(|_| {
                let began = Instant::now();
                work();
                began.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[TIMES / 2]
    };
    for side in [28, 112, 448, 1024, 4096] {
        let small = ::image::GrayImage::from_raw(28, 28, digit.iter().map(|ink| 255 - ink).collect());
        let large = ::image::imageops::resize(
            &small.expect("28 x 28 pixels"),
            side,
            side,
            ::image::imageops::FilterType::Triangle,
        );
        let png = image::to_png(&large, side as usize, side as usize);
        let decoded = image::decode(&png, Grayscale::Contrast).expect("it was just made");
        let decoding = median(&mut || drop(image::decode(&png, Grayscale::Contrast)));
        let normalising = median(&mut || {
            let image = image::normalize(&decoded, Normalization::Auto, ImageSize::MNIST).expect("any size");
            assert_eq!(image.quality, Some(Quality::Good));
        });
        println!(
            "{{\"what\": \"normalising\", \"side\": {side}, \"decode_ms\": {decoding:.2}, \"normalize_ms\": {normalising:.2}}}"
        );
    }
}

fn digitd(store: &Path, data: &Path) -> Command {
    let mut command = program::digitd(store);
    command.env("DIGITD_DATA_DIR", data);
    command
}
