// The op's `Params` as `p`: immediates where the device has them, else a slice of the uniform arena.
// Import it after the declaration of `struct Params`.
#ifdef IMMEDIATES
var<immediate> p: Params;
#else
@group(1) @binding(0) var<uniform> p: Params;
#endif
