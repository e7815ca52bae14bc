#version 450
// Each word becomes a number of its place and of the round.
layout(local_size_x = 64) in;
layout(std430, binding = 0) buffer Words { uint words[]; };
layout(push_constant) uniform Round { uint seed; uint count; };
void main()
{
        uint i = gl_GlobalInvocationID.x + gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64u;
        if (i < count)
                words[i] = i * 2654435761u + seed;
}
