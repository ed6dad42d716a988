//! Boxes on hand-made image folders: what an unpacked image may look like, hostile ones included.

mod hostile_images;
mod image_roots;
mod image_world;
