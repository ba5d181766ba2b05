//! The memory of tensors of float32 on the CPU as slices: the one place where the room touches what libtorch
//! owns. Tensors are handles that can share their memory, so that a borrow of one handle says nothing about the
//! others; what a borrow cannot prove, the callers of the unsafe functions do.

use std::mem::MaybeUninit;

use tch::{Device, Kind, Tensor};

/// Returns the values of a tensor of float32 on the CPU in the order in which they lie, whichever of its axes
/// is the innermost. Panics when the tensor is of another kind, on another device or has gaps.
///
/// # Safety
///
/// As long as the slice lives, nothing may write to the tensor's memory or resize it, neither through this
/// handle nor through another one that shares it, and on no thread. The values must have been written.
#[expect(unsafe_code, reason = "libtorch lends its memory as a pointer")]
pub(super) unsafe fn values(tensor: &Tensor) -> &[f32] {
    match pointer(tensor) {
        None => &[],
        // SAFETY: `pointer` vouches for so many aligned float32 numbers in one piece. They belong to the
        // storage that the borrowed handle keeps alive. The caller vouches that they have been written and
        // that nothing changes them while the slice lives.
        Some(pointer) => unsafe { std::slice::from_raw_parts(pointer, tensor.numel()) },
    }
}

/// Returns the values to change them.
///
/// # Safety
///
/// As long as the slice lives, nothing else may read the tensor's memory, write to it or resize it, neither
/// through a handle nor through another slice, and on no thread. The values must have been written.
#[expect(unsafe_code, reason = "libtorch lends its memory as a pointer")]
pub(super) unsafe fn values_mut(tensor: &mut Tensor) -> &mut [f32] {
    match pointer(tensor) {
        None => &mut [],
        // SAFETY: `pointer` vouches for so many aligned float32 numbers in one piece. They belong to the
        // storage that the borrowed handle keeps alive. The caller vouches that they have been written and
        // that the slice is the only access to them while it lives.
        Some(pointer) => unsafe { std::slice::from_raw_parts_mut(pointer, tensor.numel()) },
    }
}

/// A new tensor of float32 on the CPU whose values are still to be written. It is the only handle to its
/// memory, so that a borrow of it is a borrow of the memory.
#[derive(Debug)]
pub(super) struct UninitTensor(Tensor);

impl UninitTensor {
    pub fn new(shape: &[i64]) -> Self {
        Self(Tensor::empty(shape, (Kind::Float, Device::Cpu)))
    }

    /// Returns the memory of the values, row by row.
    #[expect(unsafe_code, reason = "libtorch lends its memory as a pointer")]
    pub fn values_mut(&mut self) -> &mut [MaybeUninit<f32>] {
        match pointer(&self.0) {
            None => &mut [],
            // SAFETY: `pointer` vouches for so many aligned places of a float32 number in one piece, and a
            // `MaybeUninit` asks for no more. libtorch allocated them for this tensor, which has never left
            // this type: no other handle to them exists, and this one is borrowed mutably as long as the
            // slice lives.
            Some(pointer) => unsafe { std::slice::from_raw_parts_mut(pointer.cast(), self.0.numel()) },
        }
    }

    /// Returns the tensor.
    ///
    /// # Safety
    ///
    /// All of its values must have been written.
    #[expect(unsafe_code, reason = "only the caller knows that the values have been written")]
    pub unsafe fn assume_init(self) -> Tensor {
        self.0
    }
}

/// Where a tensor's values begin; none where it has none, since libtorch may give an empty tensor no memory.
/// They are float32 numbers on the CPU, `numel` of them, without gaps.
fn pointer(tensor: &Tensor) -> Option<*mut f32> {
    assert_eq!((tensor.kind(), tensor.device()), (Kind::Float, Device::Cpu), "float32 on the CPU");
    if tensor.numel() == 0 {
        return None;
    }
    let mut axes: Vec<(i64, i64)> = tensor.stride().into_iter().zip(tensor.size()).collect();
    axes.retain(|(_, size)| *size != 1);
    axes.sort_unstable();
    let whole =
        axes.iter().try_fold(1, |expected, (stride, size)| (*stride == expected).then_some(stride * size));
    assert!(whole.is_some(), "values without gaps");
    let pointer: *mut f32 = tensor.data_ptr().cast();
    assert!(!pointer.is_null() && pointer.is_aligned(), "memory for float32");
    Some(pointer)
}

#[cfg(test)]
#[expect(unsafe_code, reason = "the functions are unsafe")]
mod tests {
    use super::*;

    fn numbers() -> Tensor {
        Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3])
    }

    /// The values of a tensor that this test alone has.
    fn read(tensor: &Tensor) -> Vec<f32> {
        // SAFETY: the slice ends with this function, and no handle of the tensor is used meanwhile.
        unsafe { values(tensor) }.to_vec()
    }

    #[test]
    fn values_are_those_of_the_tensor_in_memory_order() {
        assert_eq!(read(&numbers()), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(read(&numbers().tr()), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        // The pointer of a part is its own, not its storage's.
        assert_eq!(read(&numbers().narrow(0, 1, 1)), [3.0, 4.0, 5.0]);
        assert_eq!(read(&Tensor::from(2.5f32)), [2.5]);
    }

    #[test]
    fn an_empty_tensor_is_an_empty_slice() {
        for shape in [vec![0], vec![0, 3], vec![2, 0, 4]] {
            let mut empty = Tensor::zeros(&shape, (Kind::Float, Device::Cpu));
            assert_eq!(read(&empty), [0f32; 0]);
            // SAFETY: the slice ends with this line, and `empty` is the only handle.
            assert_eq!(unsafe { values_mut(&mut empty) }.len(), 0);
            let mut uninit = UninitTensor::new(&shape);
            assert_eq!(uninit.values_mut().len(), 0);
            // SAFETY: it has no values.
            assert_eq!(unsafe { uninit.assume_init() }.size(), shape);
        }
    }

    #[test]
    fn what_is_written_is_in_the_tensor() {
        let mut tensor = numbers();
        // SAFETY: the slice ends with the next line, and there is no other handle.
        let values = unsafe { values_mut(&mut tensor) };
        values[4] = 9.0;
        assert_eq!(read(&tensor), [0.0, 1.0, 2.0, 3.0, 9.0, 5.0]);
        let mut uninit = UninitTensor::new(&[2, 3]);
        for (value, number) in uninit.values_mut().iter_mut().zip([5f32, 4.0, 3.0, 2.0, 1.0, 0.0]) {
            value.write(number);
        }
        // SAFETY: the six values have been written.
        let tensor = unsafe { uninit.assume_init() };
        assert_eq!(tensor, 5.0 - numbers());
    }

    #[test]
    fn memory_that_is_no_slice_of_float32_is_rejected() {
        let columns = numbers().narrow(1, 0, 2);
        let repeated = Tensor::from(1f32).expand([3], false);
        for other in [columns, repeated, numbers().to_kind(Kind::Double)] {
            assert!(std::panic::catch_unwind(move || read(&other)).is_err());
        }
    }
}
