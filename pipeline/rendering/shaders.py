"""OpenGL programs of the face-id pass; see `pyrender_gl`."""

VERTEX_SHADER = """
#version 330 core
layout(location = 0) in vec4 clip;
void main() { gl_Position = clip; }
"""

GEOMETRY_SHADER = """
#version 330 core
layout(triangles) in;
layout(triangle_strip, max_vertices = 4) out;
uniform vec2 size_px;
uniform float near_m;
flat out vec3 a, b, c;  // corners in the window: pixels and depth
flat out int cut;  // crosses the near plane: its corners have no image, OpenGL clips and fills it

void corner(float u, float v) {
    gl_Position = vec4(2.0 * vec2(u, v) / size_px - 1.0, 0.0, 1.0);
    gl_PrimitiveID = gl_PrimitiveIDIn;
    EmitVertex();
}

vec3 window(vec4 clip) {
    vec3 unit = clip.xyz / clip.w;
    return vec3((0.5 * unit.xy + 0.5) * size_px, 0.5 * unit.z + 0.5);
}

void main() {
    cut = 0;
    for (int k = 0; k < 3; ++k)
        if (gl_in[k].gl_Position.w < near_m) cut = 1;
    a = b = c = vec3(0.0);
    if (cut == 1) {
        for (int k = 0; k < 3; ++k) {
            gl_Position = gl_in[k].gl_Position;
            gl_PrimitiveID = gl_PrimitiveIDIn;
            EmitVertex();
        }
        return;
    }
    a = window(gl_in[0].gl_Position);
    b = window(gl_in[1].gl_Position);
    c = window(gl_in[2].gl_Position);
    vec2 low = max(min(min(a.xy, b.xy), c.xy) - 0.0625, vec2(-1.0));
    vec2 high = min(max(max(a.xy, b.xy), c.xy) + 0.0625, size_px + 1.0);
    if (low.x > high.x || low.y > high.y) return;
    corner(low.x, low.y);
    corner(high.x, low.y);
    corner(low.x, high.y);
    corner(high.x, high.y);
}
"""

FRAGMENT_SHADER = """
#version 330 core
flat in vec3 a, b, c;
flat in int cut;
layout(location = 0) out int face;

float side(vec2 p, vec2 q) { return p.x * q.y - p.y * q.x; }  // negated when p and q change places: no gaps

void main() {
    face = gl_PrimitiveID;
    gl_FragDepth = gl_FragCoord.z;
    if (cut == 1) return;
    vec2 p = a.xy - gl_FragCoord.xy, q = b.xy - gl_FragCoord.xy, r = c.xy - gl_FragCoord.xy;
    vec3 e = vec3(side(q, r), side(r, p), side(p, q));
    bool inside = all(greaterThanEqual(e, vec3(0.0))) || all(lessThanEqual(e, vec3(0.0)));
    float area = e.x + e.y + e.z;
    if (!inside || area == 0.0) discard;
    gl_FragDepth = dot(e, vec3(a.z, b.z, c.z)) / area;
}
"""
