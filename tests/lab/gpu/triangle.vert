#version 450
// One triangle, turned a little towards the light.
layout(location = 0) out vec3 colour;
layout(location = 1) out vec3 normal;
void main()
{
        const vec2 corners[3] = vec2[](vec2(0.0, -0.8), vec2(0.8, 0.7), vec2(-0.8, 0.6));
        const vec3 colours[3] = vec3[](vec3(1, 0, 0), vec3(0, 1, 0), vec3(0, 0, 1));
        const vec3 normals[3] = vec3[](vec3(0.3, 0.1, 1), vec3(-0.5, 0, 1), vec3(0, 0.4, 1));
        gl_Position = vec4(corners[gl_VertexIndex], 0.5, 1.0);
        colour = colours[gl_VertexIndex];
        normal = normals[gl_VertexIndex];
}
