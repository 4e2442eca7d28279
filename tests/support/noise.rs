//! The shaders' noise against the rows that the host checks itself against, on every adapter: words bit
//! for bit, Gumbel noise to the last places.

use coppice::sample::rng;
use wgpu::util::DeviceExt;

/// A counter, a key and a number of the word in; that word and the bits of its noise out.
const MAIN: &str = "
@group(0) @binding(0) var<storage, read> keyed: array<u32>;
@group(0) @binding(1) var<storage, read_write> noise: array<u32>;

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3<u32>) {
    let at = 7u * group.x;
    let counter = vec4<u32>(keyed[at], keyed[at + 1u], keyed[at + 2u], keyed[at + 3u]);
    let word = philox(counter, vec2<u32>(keyed[at + 4u], keyed[at + 5u]))[keyed[at + 6u]];
    noise[2u * group.x] = word;
    noise[2u * group.x + 1u] = bitcast<u32>(gumbel_of(word));
}
";

#[test]
fn noise_is_the_hosts_on_every_adapter() {
    let text = [
        include_str!("../../shaders/shared/math.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        MAIN,
    ]
    .concat();
    let mut input = Vec::new();
    for &(seed, position, token, ..) in rng::KEYED {
        input.extend([token / 4, position as u32, (position >> 32) as u32, 0]);
        input.extend([seed as u32, (seed >> 32) as u32, token % 4]);
    }
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    let instance = wgpu::Instance::new(descriptor);
    for adapter in pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all())) {
        let name = adapter.get_info().name;
        let got = run(&adapter, &text, &input);
        assert_eq!(got.len(), 2 * rng::KEYED.len());
        for (got, row) in got.chunks_exact(2).zip(rng::KEYED) {
            assert_eq!(got[0], row.3, "{name}: {row:x?}");
            let noise = f32::from_bits(got[1]);
            assert!(
                (noise - row.4).abs() <= 2e-6 * row.4.abs().max(1.0),
                "{name}: {noise} {row:?}"
            );
        }
    }
}

fn run(adapter: &wgpu::Adapter, text: &str, input: &[u32]) -> Vec<u32> {
    let (device, queue) =
        pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))
            .expect("a listed adapter opens");
    let source = wgpu::ShaderSource::Wgsl(text.into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let count = input.len() / 7;
    let buffer = |contents: &[u32], usage| {
        device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(contents),
            usage,
        })
    };
    let storage = wgpu::BufferUsages::STORAGE;
    let keyed = buffer(input, storage);
    let noise = buffer(&vec![0; 2 * count], storage | wgpu::BufferUsages::COPY_SRC);
    let read = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let back = buffer(&vec![0; 2 * count], read);
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: keyed.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: noise.as_entire_binding() },
        ],
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(count as u32, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&noise, 0, &back, 0, back.size());
    queue.submit([encoder.finish()]);
    back.map_async(wgpu::MapMode::Read, .., |mapped| mapped.expect("mapped"));
    device.poll(wgpu::PollType::wait_indefinitely()).expect("finished");
    bytemuck::pod_collect_to_vec(&back.get_mapped_range(..).expect("mapped"))
}
