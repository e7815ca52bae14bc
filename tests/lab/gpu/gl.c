/* SPDX-License-Identifier: BSD-2-Clause */

/* A triangle by OpenGL ES without a window: gl FILE writes it as a PPM picture, and says whose renderer it is. */

#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GLES2/gl2.h>
#include <stdio.h>
#include <stdlib.h>

#define SIDE 256

static void need(int holds, const char *what)
{
        if (holds)
                return;
        printf("# %s: EGL 0x%x, GL 0x%x\n", what, eglGetError(), glGetError());
        exit(1);
}

static GLuint shader_new(GLenum kind, const char *source)
{
        GLuint shader = glCreateShader(kind);
        GLint compiled;

        glShaderSource(shader, 1, &source, NULL);
        glCompileShader(shader);
        glGetShaderiv(shader, GL_COMPILE_STATUS, &compiled);
        need(compiled, "a shader");
        return shader;
}

static void open_context(void)
{
        static const EGLint config_wanted[] = {EGL_RENDERABLE_TYPE, EGL_OPENGL_ES2_BIT, EGL_SURFACE_TYPE, 0, EGL_NONE};
        static const EGLint context_wanted[] = {EGL_CONTEXT_CLIENT_VERSION, 2, EGL_NONE};
        EGLDisplay display = eglGetPlatformDisplay(EGL_PLATFORM_SURFACELESS_MESA, EGL_DEFAULT_DISPLAY, NULL);
        EGLConfig config;
        EGLint n = 0;

        need(eglInitialize(display, NULL, NULL), "eglInitialize");
        need(eglBindAPI(EGL_OPENGL_ES_API), "eglBindAPI");
        need(eglChooseConfig(display, config_wanted, &config, 1, &n) && n == 1, "eglChooseConfig");

        EGLContext context = eglCreateContext(display, config, EGL_NO_CONTEXT, context_wanted);

        need(context != EGL_NO_CONTEXT, "eglCreateContext");
        need(eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE, context), "eglMakeCurrent");
}

static void draw(void)
{
        static const GLfloat corners[] = {0, 0.8f, 0.9f, -0.7f, -0.9f, -0.6f};
        GLuint texture, target, program = glCreateProgram();

        glGenTextures(1, &texture);
        glBindTexture(GL_TEXTURE_2D, texture);
        glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, SIDE, SIDE, 0, GL_RGBA, GL_UNSIGNED_BYTE, NULL);
        glGenFramebuffers(1, &target);
        glBindFramebuffer(GL_FRAMEBUFFER, target);
        glFramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, texture, 0);
        need(glCheckFramebufferStatus(GL_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE, "a framebuffer");
        glAttachShader(program,
                       shader_new(GL_VERTEX_SHADER, "attribute vec2 at; varying vec2 where;"
                                                    "void main() { where = at; gl_Position = vec4(at, 0, 1); }"));
        glAttachShader(program, shader_new(GL_FRAGMENT_SHADER,
                                           "precision highp float; varying vec2 where;"
                                           "void main() { gl_FragColor = vec4(where * 0.5 + 0.5, 0.3, 1); }"));
        glBindAttribLocation(program, 0, "at");
        glLinkProgram(program);
        glUseProgram(program);
        glViewport(0, 0, SIDE, SIDE);
        glClearColor(0.1f, 0.1f, 0.2f, 1);
        glClear(GL_COLOR_BUFFER_BIT);
        glVertexAttribPointer(0, 2, GL_FLOAT, GL_FALSE, 0, corners);
        glEnableVertexAttribArray(0);
        glDrawArrays(GL_TRIANGLES, 0, 3);
}

int main(int argc, char **argv)
{
        static GLubyte pixels[SIDE * SIDE * 4];
        FILE *file = argc == 2 ? fopen(argv[1], "wb") : NULL;

        if (!file)
                return 2;
        open_context();
        printf("# %s\n", (const char *)glGetString(GL_RENDERER));
        draw();
        glReadPixels(0, 0, SIDE, SIDE, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
        need(glGetError() == GL_NO_ERROR, "reading");
        fprintf(file, "P6\n%d %d\n255\n", SIDE, SIDE);
        for (unsigned i = 0; i < SIDE * SIDE; i++)
                fwrite(pixels + 4 * i, 1, 3, file);
        return fclose(file) == 0 ? 0 : 1;
}
