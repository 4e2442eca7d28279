//! Pictures of the app without a display: the same frames, drawn into a texture.
//!
//! An own offscreen loop rather than the test harness, so that the app ships nothing made for tests.
//! The adapter is whichever the system offers for rendering; on a machine without a graphics card
//! that is a software driver such as lavapipe.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use egui::{Context, RawInput, Rect, Vec2, ViewportId};
use egui_wgpu::{Renderer, RendererOptions, ScreenDescriptor};

use crate::app::App;

/// Bytes of a pixel.
const PIXEL: u32 = 4;
const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

/// A device that draws into textures.
struct Offscreen {
    device: wgpu::Device,
    queue: wgpu::Queue,
    renderer: Renderer,
}

/// Size of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Canvas {
    /// Size in points.
    pub points: Vec2,
    /// Pixels a point.
    pub scale: f32,
}

impl Canvas {
    fn pixels(&self) -> [u32; 2] {
        let size = self.points * self.scale;
        [size.x.round() as u32, size.y.round() as u32]
    }

    /// Input of a frame without any event.
    fn input(&self, started: Instant) -> RawInput {
        let info = egui::ViewportInfo {
            native_pixels_per_point: Some(self.scale),
            ..egui::ViewportInfo::default()
        };
        RawInput {
            screen_rect: Some(Rect::from_min_size(egui::Pos2::ZERO, self.points)),
            time: Some(started.elapsed().as_secs_f64()),
            viewports: std::iter::once((ViewportId::ROOT, info)).collect(),
            ..RawInput::default()
        }
    }
}

/// A context as the window's, with the system's fonts.
pub fn context() -> Context {
    let ctx = Context::default();
    ctx.add_font_provider(Arc::new(egui_system_font_provider::SystemFontProvider::new()));
    ctx
}

/// Draws frames until `done` says that the state is the one wanted, then writes a PNG.
///
/// # Errors
/// No adapter, a state that is not reached within `limit`, a file that cannot be written.
pub fn screenshot(
    app: &mut App,
    ctx: &Context,
    canvas: Canvas,
    limit: Duration,
    mut done: impl FnMut(&App) -> bool,
    file: &Path,
) -> anyhow::Result<()> {
    let mut offscreen = Offscreen::open()?;
    let started = Instant::now();
    let mut settled = 0;
    let mut shapes = None;
    // Layout settles within a few frames after the state does.
    while settled < 4 {
        let mut output = ctx.run_ui(canvas.input(started), |ui| {
            app.logic(ui.ctx());
            app.ui(ui);
        });
        offscreen.textures(&output.textures_delta);
        output.textures_delta.clear();
        shapes = Some((output.shapes, output.pixels_per_point));
        settled = if done(app) { settled + 1 } else { 0 };
        if started.elapsed() > limit {
            bail!("the app did not get to the wanted state within {} s", limit.as_secs());
        }
        if settled == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let (shapes, pixels_per_point) = shapes.context("no frame was drawn")?;
    let size = canvas.pixels();
    let primitives = ctx.tessellate(shapes, pixels_per_point);
    let pixels =
        offscreen.draw(&primitives, ScreenDescriptor { size_in_pixels: size, pixels_per_point })?;
    write_png(file, size, &pixels)
}

/// Draws what `add` puts on an empty ground, and writes it as a PNG.
///
/// # Errors
/// No adapter, a picture larger than the adapter can draw, a file that cannot be written.
pub fn picture(
    ctx: &Context,
    canvas: Canvas,
    file: &Path,
    mut add: impl FnMut(&mut egui::Ui),
) -> anyhow::Result<()> {
    let mut offscreen = Offscreen::open()?;
    let size = canvas.pixels();
    let most = offscreen.device.limits().max_texture_dimension_2d;
    if size.iter().any(|&side| side == 0 || side > most) {
        bail!("a picture of {} x {} pixels, wanted 1 to {most} a side", size[0], size[1]);
    }
    let started = Instant::now();
    // Fonts are there from the second frame on.
    let mut primitives = Vec::new();
    for _ in 0..2 {
        let mut output = ctx.run_ui(canvas.input(started), |ui| {
            let ground = ui.visuals().panel_fill;
            ui.painter().rect_filled(ui.max_rect(), 0.0, ground);
            add(ui);
        });
        offscreen.textures(&output.textures_delta);
        output.textures_delta.clear();
        primitives = ctx.tessellate(output.shapes, output.pixels_per_point);
    }
    let screen = ScreenDescriptor { size_in_pixels: size, pixels_per_point: canvas.scale };
    let pixels = offscreen.draw(&primitives, screen)?;
    write_png(file, size, &pixels)
}

/// Writes RGBA pixels as a PNG.
///
/// # Errors
/// What the disk says.
pub fn write_png(file: &Path, size: [u32; 2], pixels: &[u8]) -> anyhow::Result<()> {
    let open = std::fs::File::create(file);
    let open = open.with_context(|| format!("cannot write {}", file.display()))?;
    let mut encoder = png::Encoder::new(std::io::BufWriter::new(open), size[0], size[1]);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(())
}

impl Offscreen {
    fn open() -> anyhow::Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter =
            pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
                .context("no adapter to draw with; on Linux install mesa-vulkan-drivers")?;
        let (device, queue) =
            pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
        let renderer = Renderer::new(&device, FORMAT, RendererOptions::PREDICTABLE);
        Ok(Self { device, queue, renderer })
    }

    fn textures(&mut self, delta: &egui::TexturesDelta) {
        let mut set: Vec<_> = delta.set.iter().collect();
        set.sort_by_key(|(id, _)| **id);
        for (id, images) in set {
            for image in images {
                self.renderer.update_texture(&self.device, &self.queue, *id, image);
            }
        }
        delta.free.iter().for_each(|id| self.renderer.free_texture(id));
    }

    fn draw(
        &mut self,
        primitives: &[egui::ClippedPrimitive],
        screen: ScreenDescriptor,
    ) -> anyhow::Result<Vec<u8>> {
        let [width, height] = screen.size_in_pixels;
        let size = wgpu::Extent3d { width, height, depth_or_array_layers: 1 };
        let target = self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("screenshot"),
            size,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let mut encoder =
            self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let more = self.renderer.update_buffers(
            &self.device,
            &self.queue,
            &mut encoder,
            primitives,
            &screen,
        );
        {
            let view = target.create_view(&wgpu::TextureViewDescriptor::default());
            let pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                label: Some("screenshot"),
                color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                    view: &view,
                    depth_slice: None,
                    resolve_target: None,
                    ops: wgpu::Operations {
                        load: wgpu::LoadOp::Clear(wgpu::Color::BLACK),
                        store: wgpu::StoreOp::Store,
                    },
                })],
                ..wgpu::RenderPassDescriptor::default()
            });
            self.renderer.render(&mut pass.forget_lifetime(), primitives, &screen);
        }
        let row = (width * PIXEL).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("screenshot"),
            size: u64::from(row) * u64::from(height),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        encoder.copy_texture_to_buffer(
            target.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &buffer,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(row),
                    rows_per_image: None,
                },
            },
            size,
        );
        self.queue.submit(more.into_iter().chain([encoder.finish()]));
        let slice = buffer.slice(..);
        slice.map_async(wgpu::MapMode::Read, |_| ());
        self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: None })?;
        let mapped = slice.get_mapped_range()?;
        let rows = mapped.chunks_exact(row as usize);
        Ok(rows.flat_map(|line| line[..(width * PIXEL) as usize].to_vec()).collect())
    }
}
