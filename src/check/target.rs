//! Which device a case runs on, as data that another process can be told.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::faulty::{Fault, Faulty};
use crate::{
    backend::SharedBackend,
    engine::{DeviceForm, DeviceSpec, open_form},
    error::Result,
};

/// A device in a form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The device.
    #[serde(with = "as_text")]
    pub device: DeviceSpec,
    /// How it is opened.
    #[serde(with = "as_text")]
    pub form: DeviceForm,
    /// Threads of the CPU device; one a core if absent.
    pub threads: Option<usize>,
    /// Name of a fault that is planted in it; see [`Fault`].
    pub fault: Option<String>,
}

impl Target {
    /// A device as the program opens it.
    pub fn new(device: DeviceSpec) -> Self {
        Self { device, form: DeviceForm::Usual, threads: None, fault: None }
    }

    /// In another form.
    #[must_use]
    pub fn in_form(&self, form: DeviceForm) -> Self {
        Self { form, ..self.clone() }
    }

    /// Opens it.
    ///
    /// # Errors
    /// Those of [`open_form`], and a name that no fault has.
    pub fn open(&self) -> Result<SharedBackend> {
        let device = open_form(self.device, &self.form, self.threads)?;
        match &self.fault {
            None => Ok(device),
            Some(name) => Ok(Arc::new(Faulty::new(device, name.parse::<Fault>()?))),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            DeviceForm::Usual => write!(f, "{}", self.device),
            form => write!(f, "{} {form}", self.device),
        }
    }
}

/// Values that are written as the text they print and parse.
mod as_text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
