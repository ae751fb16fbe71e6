//! `corten up --nodes N`.
