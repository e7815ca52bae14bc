#version 450
layout(location = 0) in vec3 colour;
layout(location = 1) in vec3 normal;
layout(location = 0) out vec4 result;
void main()
{
        float light = 0.2 + 0.8 * max(dot(normalize(normal), normalize(vec3(0.4, -0.3, 0.9))), 0.0);
        result = vec4(colour * light, 1.0);
}
