//! (contract below)
