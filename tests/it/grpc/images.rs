//! Images as people have them, over the wire: how they are classified, the quality of those that show no
//! digit, and hostile ones.

use bytes::Bytes;
use digitd::{
    data::{
        ImageSet,
        image::{self, Grayscale},
        mnist::{self, Subset},
    },
    pb::digitd::v1::{self, Quality, image::Form},
};

use super::{
    server::{TestServer, collect, finished, unseen_images},
    status::{check_field, error},
};
use crate::{
    drawing::{self, draw},
    support,
    surroundings::{Surroundings, draw_in},
};

fn encoded(bytes: Vec<u8>) -> v1::Image {
    v1::Image { form: Some(Form::Encoded(bytes.into())) }
}

fn of(images: Vec<v1::Image>) -> v1::PredictRequest {
    v1::PredictRequest { images, ..v1::PredictRequest::default() }
}

async fn predict(server: &TestServer, request: v1::PredictRequest) -> Vec<v1::Prediction> {
    server.prediction().predict(request).await.unwrap().into_inner().predictions
}

/// The number of test images that are compared. All 10 000 in both forms take minutes: `cargo bench --bench
/// pictures`.
const COMPARED: usize = 800;

/// The number of images in a call.
const CALL: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn large_noisy_photos_of_mnist_are_predicted_as_well_as_its_images() {
    let Some(folder) = support::mnist_dir() else { return };
    let files = mnist::locate(Subset::Test, std::slice::from_ref(&folder)).unwrap();
    let images = mnist::read(Subset::Test, &files).unwrap().slice(0..COMPARED);
    let server = TestServer::with_data(vec![folder]).await;
    let dataset =
        v1::Dataset { name: "mnist".to_owned(), max_train_images: Some(20_000), ..v1::Dataset::default() };
    let mut request = v1::TrainRequest { dataset: Some(dataset), ..v1::TrainRequest::default() };
    request.set_recipe(v1::Recipe::Fast);
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    assert_eq!(finished(&events).version, Some(1), "{:?}", finished(&events));

    let pixel_batch = Bytes::copy_from_slice(images.pixels());
    let given = predict(&server, v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() }).await;
    let drawn = read_drawn(&server, &images).await;
    let is_right = |read: &v1::Prediction, at: usize| read.label == Some(images.label(at).into());
    let count = |is: &dyn Fn(usize) -> bool| (0..COMPARED).filter(|&at| is(at)).count() as f64;
    let lost = count(&|at| is_right(&given[at], at) && !is_right(&drawn[at], at));
    let won = count(&|at| !is_right(&given[at], at) && is_right(&drawn[at], at));
    // Images that are correct in both forms or in neither carry no information: the standard error of the
    // difference is the root of the number of the others.
    let bound = 0.007 * COMPARED as f64 + 2.0 * (lost + won).sqrt();
    assert!(lost - won <= bound && lost <= 0.025 * COMPARED as f64, "lost {lost}, won {won}");
    let doubted = drawn.iter().filter(|read| read.low_confidence()).count();
    assert!(doubted <= COMPARED / 20, "{doubted} of {COMPARED} in doubt");
    surroundings_change_little(&server, &images).await;
}

/// The number of images that are drawn in each of the surroundings. `cargo bench --bench pictures` draws more.
const SURROUNDED: usize = 150;

/// Borders, shadows and the rest neither change predictions nor hide digits: of a hundred images in each of them at
/// most six are misclassified without a flag, and most keep their prediction.
async fn surroundings_change_little(server: &TestServer, images: &ImageSet) {
    for (surroundings, name) in Surroundings::ALL {
        let picture = |at: usize| encoded(draw_in(images.image(at), at as u64, surroundings));
        let mut read = Vec::with_capacity(SURROUNDED);
        for start in (0..SURROUNDED).step_by(CALL) {
            read.extend(predict(server, of((start..start + CALL).map(picture).collect())).await);
        }
        let is_right = |at: usize| read[at].label == Some(images.label(at).into());
        let count =
            |is: &dyn Fn(usize) -> bool| (0..SURROUNDED).filter(|&at| is(at)).count() * 100 / SURROUNDED;
        let right = count(&|at| is_right(at) && !read[at].low_confidence());
        let wrong = count(&|at| !is_right(at) && !read[at].low_confidence());
        assert!(right >= 85 && wrong <= 6, "{name}: {right} % right, {wrong} % wrong without a flag");
    }
}

/// Classifies the images after they are drawn, every other one as JPEG.
async fn read_drawn(server: &TestServer, images: &ImageSet) -> Vec<v1::Prediction> {
    let mut read = Vec::with_capacity(COMPARED);
    for start in (0..COMPARED).step_by(CALL) {
        let form = |at: usize| if at.is_multiple_of(2) { drawing::Form::Png } else { drawing::Form::Jpeg };
        let picture = |at| encoded(draw(images.image(at), at as u64, form(at)));
        read.extend(predict(server, of((start..start + CALL).map(picture).collect())).await);
    }
    read
}

/// A grayscale PNG of 200 x 200 pixels.
fn sheet(pixel: impl Fn(usize, usize) -> u8) -> v1::Image {
    let pixels: Vec<u8> = (0..200 * 200).map(|at| pixel(at % 200, at / 200)).collect();
    encoded(image::to_png(&pixels, 200, 200))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_shows_no_single_digit_is_reported_so() {
    let server = TestServer::start().await;
    server.train().await;
    let bar = |x: usize, y: usize, left: usize| (left..left + 16).contains(&x) && (40..160).contains(&y);
    let pictures = vec![
        sheet(|_, _| 250),
        sheet(|_, _| 0),
        sheet(|x, y| (100 + (x * 7919 + y * 104_729 + x * y * 31) % 100) as u8),
        sheet(|x, y| if bar(x, y, 40) || bar(x, y, 140) { 20 } else { 240 }),
        sheet(|x, y| if (90..94).contains(&x) && (90..94).contains(&y) { 20 } else { 240 }),
        sheet(|x, y| if (40..160).contains(&x) && (40..160).contains(&y) { 20 } else { 240 }),
        sheet(|x, y| if bar(x, y, 90) { 220 } else { 240 }),
        sheet(|x, y| if bar(x, y, 90) { 20 } else { 240 }),
    ];
    let read = predict(&server, of(pictures)).await;
    let qualities: Vec<Quality> = read.iter().map(v1::Prediction::quality).collect();
    use Quality::{Blank, Good, LowContrast, NotStrokes, SeveralShapes, TooSmall};
    assert_eq!(qualities, [Blank, Blank, Blank, SeveralShapes, TooSmall, NotStrokes, LowContrast, Good]);
    for (read, quality) in read.iter().zip(&qualities) {
        let doubted = *quality != Good || read.probability() < 0.7;
        assert_eq!(read.low_confidence, Some(doubted), "{quality:?}");
        assert_eq!(read.label.is_none(), *quality == Blank);
    }
    assert!(read[0].probabilities.iter().all(|&share| (share - 0.1).abs() < 1e-6) && read[0].top.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_request_the_response_holds_the_network_input() {
    let server = TestServer::start().await;
    server.train().await;
    let set = unseen_images(1);
    let request = v1::PredictRequest {
        pixel_batch: Bytes::copy_from_slice(set.pixels()),
        return_seen_png: true,
        ..of(vec![encoded(draw(set.image(0), 7, drawing::Form::Jpeg))])
    };
    let read = predict(&server, request).await;
    let input_of = |read: &v1::Prediction| image::decode(&read.seen_png, Grayscale::Luma).unwrap();
    assert_eq!(input_of(&read[1]).pixels, set.image(0));
    let input = input_of(&read[0]);
    assert_eq!((input.width, input.height), (28, 28));
    // The returned image is the network's input: sent as pixels, it gets the same prediction.
    let again = v1::PredictRequest { pixel_batch: input.pixels.into(), ..v1::PredictRequest::default() };
    let again = predict(&server, again).await;
    assert_eq!(again[0].label, read[0].label);
    assert!((again[0].probability() - read[0].probability()).abs() < 1e-5 && again[0].seen_png.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_claims_too_many_pixels_is_named_with_its_size() {
    let server = TestServer::start().await;
    server.train().await;
    // This PNM file is one line of text: it has a header and no pixels.
    let images = vec![sheet(|_, _| 250), encoded(b"P5 16384 16384 255\n".to_vec())];
    let rejected = error(server.prediction().predict(of(images)).await);
    check_field(&rejected, "images[1].encoded");
    assert!(
        rejected.message().contains("16384x16384") && rejected.message().contains("1 to 64000000"),
        "{rejected}"
    );
    let rejected = error(server.prediction().predict(of(vec![encoded(vec![0; (8 << 20) + 1])])).await);
    check_field(&rejected, "images[0].encoded");
    assert!(rejected.message().contains("at most 8388608"), "{rejected}");
}
