//! Measurements of a run: the sums of an epoch, the throughput since the last report, and step
//! timings.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use super::LossAndAccuracy;

/// Sums over the batches of an epoch.
#[derive(Debug, Default)]
pub(super) struct EpochTotals {
    /// The sum of losses and the number of correct predictions, over images.
    sums: [f64; 2],
    images: i64,
    /// Mean loss, correct predictions and images of the batches that are still to be read from the device.
    unread: Vec<(Tensor, Tensor, i64)>,
}

/// The time and the images since the last report.
pub(super) struct Throughput {
    since: Instant,
    images: i64,
}

/// The time that each part of the batches took. On a GPU, which is not waited for, it is the time of this
/// thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct StepTimings {
    /// Gathering and normalising images.
    pub gathering: Duration,
    /// Augmentation, forward, backward and the optimiser.
    pub stepping: Duration,
    /// Metrics, reports, and whether the loss is still a number.
    pub counting: Duration,
}

/// A stopwatch that is read between two parts of a batch.
#[derive(Debug)]
pub(super) struct Stopwatch {
    since: Instant,
    pub timings: StepTimings,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { since: Instant::now(), timings: StepTimings::default() }
    }

    /// Starts the current part again.
    pub fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// The time since the last call belongs to that part.
    pub fn lap(&mut self, part: impl FnOnce(&mut StepTimings) -> &mut Duration) {
        let now = Instant::now();
        *part(&mut self.timings) += now - self.since;
        self.since = now;
    }
}

impl EpochTotals {
    /// Restores the totals of an epoch that was interrupted.
    pub fn of(sums: [f64; 2], images: i64) -> Self {
        Self { sums, images, unread: Vec::new() }
    }

    pub fn sums(&self) -> [f64; 2] {
        self.sums
    }

    pub fn images(&self) -> i64 {
        self.images
    }

    /// Takes a batch's mean loss and its number of correct predictions. A GPU continues: they are read later.
    pub fn add(&mut self, mean_loss: &Tensor, correct: &Tensor, images: i64) {
        self.unread.push((mean_loss.shallow_clone(), correct.shallow_clone(), images));
        if mean_loss.device() == Device::Cpu {
            self.read();
        }
    }

    /// Reads from the device what is still there, all at once.
    pub fn read(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        let numbers = match unread.as_slice() {
            [] => return,
            [(loss, correct, _)] => vec![loss.double_value(&[]), correct.double_value(&[])],
            many => {
                // Few operations however many batches: a device starts each of them by itself.
                let losses: Vec<&Tensor> = many.iter().map(|(loss, _, _)| loss).collect();
                let correct: Vec<&Tensor> = many.iter().map(|(_, correct, _)| correct).collect();
                let rows = [losses, correct].map(|row| Tensor::stack(&row, 0).to_kind(Kind::Double));
                Vec::<f64>::try_from(Tensor::stack(&rows, 1).view(-1)).expect("scalars make rows of numbers")
            }
        };
        for (pair, (_, _, images)) in numbers.chunks(2).zip(&unread) {
            self.sums[0] += pair[0] * *images as f64;
            self.sums[1] += pair[1];
            self.images += images;
        }
    }

    /// Whether all losses that were read are finite.
    pub fn is_finite(&self) -> bool {
        self.sums[0].is_finite()
    }

    /// Returns the means over the images that were read.
    pub fn means(&self) -> LossAndAccuracy {
        let mean = |sum: f64| sum / self.images as f64;
        LossAndAccuracy { loss: mean(self.sums[0]), accuracy: mean(self.sums[1]) }
    }
}

impl Throughput {
    pub fn start() -> Self {
        Self { since: Instant::now(), images: 0 }
    }

    pub fn add(&mut self, images: i64) {
        self.images += images;
    }

    /// Images per second since the last call.
    pub fn restart(&mut self) -> f64 {
        let rate = self.images as f64 / self.since.elapsed().as_secs_f64();
        *self = Self::start();
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_that_are_read_later_have_the_same_sums() {
        let batches = [(0.5f32, 3.0f64, 4), (0.25, 2.0, 2), (2.0, 0.0, 1)];
        let mut late = EpochTotals::default();
        let mut early = EpochTotals::default();
        for (loss, correct, images) in batches {
            let (loss, correct) = (Tensor::from(loss), Tensor::from(correct));
            early.add(&loss, &correct, images);
            late.unread.push((loss, correct, images));
        }
        assert_eq!((late.sums(), late.images()), ([0.0, 0.0], 0));
        late.read();
        assert_eq!((late.sums(), late.images()), ([4.5, 5.0], 7));
        assert_eq!((early.sums(), early.images(), early.unread.len()), ([4.5, 5.0], 7, 0));
        assert_eq!(late.means(), LossAndAccuracy { loss: 4.5 / 7.0, accuracy: 5.0 / 7.0 });
    }
}
