//! Which device computes, and how CUDA gets into the process: this program links libtorch's CPU
//! part alone, and loads the CUDA part when it is requested.

use std::{
    ffi::{CStr, CString},
    fmt, fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::OnceLock,
};

use tch::{Device, Kind, TchError, Tensor};

use super::error::Error;

/// What a person asks for: `auto`, `cpu` or `cuda:0`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// CUDA device 0 where there is one, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda(usize),
}

impl DeviceChoice {
    /// Whether the device computes, or why it does not; for programs that do nothing else of libtorch.
    pub fn probe(self) -> Result<(), String> {
        let device = match self {
            Self::Cpu => return Ok(()),
            Self::Auto => cuda(0)?,
            Self::Cuda(index) => cuda(index)?,
        };
        computes(device).map_err(|error| reason(&error))
    }

    /// The device, made ready. CUDA that was requested and does not work is an error that says
    /// why. Call it before anything else of libtorch: its first use without the CUDA part makes
    /// the process remember that there is none.
    pub fn open(self) -> Result<Device, Error> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(index) => cuda(index).map_err(|why| {
                let message = format!("{self} does not work: {why}; use --device cpu");
                Error::field("device", message)
            }),
            Self::Auto => Ok(cuda(0).unwrap_or_else(|why| {
                tracing::info!(%why, "computing on the CPU");
                Device::Cpu
            })),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let index = |text: &str| text.parse::<u8>().ok().map(|index| Self::Cuda(index.into()));
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(index)
                .ok_or_else(|| format!("{text:?} is not a device: use auto, cpu or cuda:0")),
        }
    }
}

fn cuda(index: usize) -> Result<Device, String> {
    load_cuda()?;
    let device = Device::Cuda(index);
    match usize::try_from(tch::Cuda::device_count()).unwrap_or(0) {
        // Then the error of the tensor below has the reason.
        0 => {}
        1 if index > 0 => return Err("there is one CUDA device, cuda:0".to_owned()),
        count if index >= count => {
            return Err(format!("there are {count} CUDA devices, cuda:0 to cuda:{}", count - 1));
        }
        _ => {}
    }
    // Making a tensor is the only call for which libtorch reports the reason.
    match Tensor::f_zeros([1], (Kind::Float, device)) {
        Ok(_) => Ok(device),
        Err(error) => Err(reason(&error)),
    }
}

/// A convolution and a matrix product, read back: cuDNN and cuBLAS load their kernels at their first use.
fn computes(device: Device) -> Result<(), TchError> {
    let ones = |shape: &[i64]| Tensor::f_ones(shape, (Kind::Float, device));
    let convolved =
        ones(&[1, 1, 4, 4])?.f_conv2d(&ones(&[1, 1, 3, 3])?, None::<Tensor>, [1; 2], [0; 2], [1; 2], 1)?;
    let product =
        convolved.f_reshape([2, 2])?.f_mm(&ones(&[2, 2])?)?.f_sum(Kind::Float)?.f_double_value(&[])?;
    match product {
        72.0 => Ok(()),
        other => Err(TchError::Torch(format!("a convolution and a product gave {other} and not 72"))),
    }
}

/// The first line of what libtorch says.
fn reason(error: &TchError) -> String {
    match error {
        TchError::Torch(why) => why.lines().next().unwrap_or("libtorch refused").to_owned(),
        other => other.to_string(),
    }
}

/// Loads libtorch_cuda.so, once a process, and remembers how that went.
fn load_cuda() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    let load = || {
        let folder = libtorch_folder().ok_or("libtorch_cpu.so is not loaded from a file")?;
        let library = folder.join("libtorch_cuda.so");
        if !library.exists() {
            return Err(format!("{} has no libtorch_cuda.so: this libtorch is for CPUs", folder.display()));
        }
        open_library(&library)
    };
    LOADED.get_or_init(load).clone()
}

/// Where this process's libtorch lies.
fn libtorch_folder() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    // The path begins at the first slash: what stands before it are numbers.
    Path::new(&path[path.find('/')?..]).parent().map(Path::to_path_buf)
}

#[expect(unsafe_code, reason = "only the system's loader can bring CUDA in at run time")]
fn open_library(path: &Path) -> Result<(), String> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: the path is a C string that outlives the call. Loading runs the library's
    // initialisers, which register its operators with libtorch under libtorch's own locks; the
    // handle is never closed, so nothing registered dangles.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: after a failed dlopen, dlerror gives a C string that lives until this thread's next
    // dl call, or null.
    let message = unsafe {
        let message = libc::dlerror();
        (!message.is_null()).then(|| CStr::from_ptr(message).to_string_lossy().into_owned())
    };
    Err(message.unwrap_or_else(|| "the loader gives no reason".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_as_it_is_written() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3)] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for bad in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            assert!(bad.parse::<DeviceChoice>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_device_that_works_computes_what_it_should() {
        computes(Device::Cpu).unwrap();
    }

    #[test]
    fn the_folder_of_libtorch_is_found() {
        assert!(libtorch_folder().unwrap().join("libtorch_cpu.so").exists());
    }

    #[test]
    fn a_cuda_device_that_is_not_there_is_rejected_with_a_reason() {
        let error = DeviceChoice::Cuda(200).open().unwrap_err();
        assert!(error.to_string().contains("cuda:200 does not work: "), "{error}");
    }
}
