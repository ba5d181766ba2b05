//! A tensor's memory as a slice of numbers: the one place where the room reads what libtorch owns.

use tch::{Device, Kind, Tensor};

/// The values of a tensor of float32 on the CPU, in the order in which they lie; one piece of memory
/// without gaps, whichever of its axes is the innermost.
#[expect(unsafe_code, reason = "libtorch lends its memory as a pointer")]
pub(super) fn values(tensor: &Tensor) -> &[f32] {
    check(tensor);
    // SAFETY: `check` found float32 numbers on the CPU, as many as the length says, without gaps. The
    // tensor is borrowed as long as the slice lives, and whoever changes a tensor's values in the
    // crate does so from its own thread, not while a kernel reads them.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) }
}

/// The same, to write into.
#[expect(unsafe_code, reason = "libtorch lends its memory as a pointer")]
pub(super) fn values_mut(tensor: &mut Tensor) -> &mut [f32] {
    check(tensor);
    // SAFETY: as in `values`; the exclusive borrow is of the tensor that owns these values or a view
    // that nobody else reads meanwhile.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) }
}

fn check(tensor: &Tensor) {
    assert_eq!((tensor.kind(), tensor.device()), (Kind::Float, Device::Cpu), "float32 on the CPU");
    let mut axes: Vec<(i64, i64)> = tensor.stride().into_iter().zip(tensor.size()).collect();
    axes.retain(|(_, size)| *size != 1);
    axes.sort_unstable();
    let whole =
        axes.iter().try_fold(1, |expected, (stride, size)| (*stride == expected).then_some(stride * size));
    assert!(whole.is_some() || tensor.numel() == 0, "values without gaps");
}
