/* SPDX-License-Identifier: BSD-2-Clause */

/* The lab's use of a GPU by Vulkan:
 *
 *   vulkan fill MIB ROUNDS   a compute shader fills so much memory, which this process reads and checks word by word
 *   vulkan draw FILE         a lit triangle, as a PPM picture
 *   vulkan many N            so many allocations of 4 KiB, all mapped at once; how many could be is said
 *   vulkan hold N FILE       so many, filled; when FILE is there, how many still show that is said
 *
 * Exit status 0 where all is right. What is said begins with "# ". */

#include <stdint.h>

/* Made of the shaders by glslangValidator; they want the above. */
#include "fill.h"
#include "triangle_frag.h"
#include "triangle_vert.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

#define SIDE 256

static VkInstance instance;
static VkPhysicalDevice physical;
static VkDevice device;
static VkQueue queue;
static VkCommandPool pool;
static uint32_t family;

static void check(VkResult result, const char *what)
{
        if (result == VK_SUCCESS)
                return;
        printf("# %s: VkResult %d\n", what, result);
        exit(1);
}
#define CHECK(call) check(call, #call)

static void open_device(void)
{
        const VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                               .apiVersion = VK_API_VERSION_1_1};
        const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                           .pApplicationInfo = &application};
        const float priority = 1;
        const VkDeviceQueueCreateInfo queues = {
                .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
        const VkDeviceCreateInfo device_info = {
                .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .queueCreateInfoCount = 1, .pQueueCreateInfos = &queues};
        const VkCommandPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                                   .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT};
        VkPhysicalDeviceProperties properties;
        uint32_t n = 1;

        CHECK(vkCreateInstance(&info, NULL, &instance));
        VkResult r = vkEnumeratePhysicalDevices(instance, &n, &physical);
        if ((r != VK_SUCCESS && r != VK_INCOMPLETE) || n == 0) {
                printf("# no device: VkResult %d\n", r);
                exit(1);
        }
        vkGetPhysicalDeviceProperties(physical, &properties);
        printf("# %s\n", properties.deviceName);
        CHECK(vkCreateDevice(physical, &device_info, NULL, &device));
        vkGetDeviceQueue(device, family, 0, &queue);
        CHECK(vkCreateCommandPool(device, &pool_info, NULL, &pool));
}

static void close_device(void)
{
        vkDestroyCommandPool(device, pool, NULL);
        vkDestroyDevice(device, NULL);
        vkDestroyInstance(instance, NULL);
}

static uint32_t memory_type(uint32_t bits, VkMemoryPropertyFlags wanted)
{
        VkPhysicalDeviceMemoryProperties properties;

        vkGetPhysicalDeviceMemoryProperties(physical, &properties);
        for (uint32_t i = 0; i < properties.memoryTypeCount; i++)
                if (bits & 1U << i && (properties.memoryTypes[i].propertyFlags & wanted) == wanted)
                        return i;
        printf("# no memory of kind %x\n", wanted);
        exit(1);
}

#define HOST (VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT)

static VkDeviceMemory allocate(const VkMemoryRequirements *needed, VkMemoryPropertyFlags kind)
{
        const VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                           .allocationSize = needed->size,
                                           .memoryTypeIndex = memory_type(needed->memoryTypeBits, kind)};
        VkDeviceMemory memory;

        CHECK(vkAllocateMemory(device, &info, NULL, &memory));
        return memory;
}

struct buffer {
        VkBuffer buffer;
        VkDeviceMemory memory;
        uint32_t *words;
};

static struct buffer buffer_new(VkDeviceSize size, VkBufferUsageFlags usage)
{
        const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = size, .usage = usage};
        VkMemoryRequirements needed;
        struct buffer buffer;

        CHECK(vkCreateBuffer(device, &info, NULL, &buffer.buffer));
        vkGetBufferMemoryRequirements(device, buffer.buffer, &needed);
        buffer.memory = allocate(&needed, HOST);
        CHECK(vkBindBufferMemory(device, buffer.buffer, buffer.memory, 0));
        CHECK(vkMapMemory(device, buffer.memory, 0, VK_WHOLE_SIZE, 0, (void **)&buffer.words));
        return buffer;
}

static void buffer_free(struct buffer *buffer)
{
        vkUnmapMemory(device, buffer->memory);
        vkDestroyBuffer(device, buffer->buffer, NULL);
        vkFreeMemory(device, buffer->memory, NULL);
}

static VkShaderModule shader_new(const uint32_t *code, size_t size)
{
        const VkShaderModuleCreateInfo info = {
                .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = size, .pCode = code};
        VkShaderModule module;

        CHECK(vkCreateShaderModule(device, &info, NULL, &module));
        return module;
}

static VkCommandBuffer begin_commands(void)
{
        const VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                                  .commandPool = pool,
                                                  .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                                  .commandBufferCount = 1};
        const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
        VkCommandBuffer commands;

        CHECK(vkAllocateCommandBuffers(device, &info, &commands));
        CHECK(vkBeginCommandBuffer(commands, &begin));
        return commands;
}

static void run_commands(VkCommandBuffer commands)
{
        const VkFenceCreateInfo fence_info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
        const VkSubmitInfo submit = {
                .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &commands};
        VkFence fence;

        CHECK(vkEndCommandBuffer(commands));
        CHECK(vkCreateFence(device, &fence_info, NULL, &fence));
        CHECK(vkQueueSubmit(queue, 1, &submit, fence));
        CHECK(vkWaitForFences(device, 1, &fence, VK_TRUE, UINT64_C(60000000000)));
        vkDestroyFence(device, fence, NULL);
        vkFreeCommandBuffers(device, pool, 1, &commands);
}

/* ---- fill ---- */

static VkDescriptorSet set_new(VkDescriptorSetLayout layout, VkBuffer buffer, VkDescriptorPool *descriptors)
{
        const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
        const VkDescriptorPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                                 .maxSets = 1,
                                                 .poolSizeCount = 1,
                                                 .pPoolSizes = &size};
        const VkDescriptorBufferInfo what = {buffer, 0, VK_WHOLE_SIZE};
        VkDescriptorSetAllocateInfo allocate_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                                     .descriptorSetCount = 1,
                                                     .pSetLayouts = &layout};
        VkDescriptorSet set;

        CHECK(vkCreateDescriptorPool(device, &info, NULL, descriptors));
        allocate_info.descriptorPool = *descriptors;
        CHECK(vkAllocateDescriptorSets(device, &allocate_info, &set));

        const VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                            .dstSet = set,
                                            .descriptorCount = 1,
                                            .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                            .pBufferInfo = &what};

        vkUpdateDescriptorSets(device, 1, &write, 0, NULL);
        return set;
}

static int fill(uint32_t mib, uint32_t rounds)
{
        const uint32_t count = mib << 18, side = 1024;
        const VkDescriptorSetLayoutBinding binding = {0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                                      VK_SHADER_STAGE_COMPUTE_BIT, NULL};
        const VkDescriptorSetLayoutCreateInfo set_info = {
                .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = 1, .pBindings = &binding};
        const VkPushConstantRange constants = {VK_SHADER_STAGE_COMPUTE_BIT, 0, 8};
        struct buffer buffer = buffer_new((VkDeviceSize)mib << 20, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
        VkShaderModule shader = shader_new(fill_code, sizeof(fill_code));
        VkDescriptorSetLayout set_layout;
        VkDescriptorPool descriptors;
        VkPipelineLayout layout;
        VkPipeline pipeline;
        struct timespec begun, ended;
        int wrong = 0;

        CHECK(vkCreateDescriptorSetLayout(device, &set_info, NULL, &set_layout));

        const VkPipelineLayoutCreateInfo layout_info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                                        .setLayoutCount = 1,
                                                        .pSetLayouts = &set_layout,
                                                        .pushConstantRangeCount = 1,
                                                        .pPushConstantRanges = &constants};

        CHECK(vkCreatePipelineLayout(device, &layout_info, NULL, &layout));

        const VkComputePipelineCreateInfo info = {
                .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                          .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                          .module = shader,
                          .pName = "main"},
                .layout = layout};

        CHECK(vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline));

        VkDescriptorSet set = set_new(set_layout, buffer.buffer, &descriptors);

        clock_gettime(CLOCK_MONOTONIC, &begun);
        for (uint32_t round = 0; round < rounds && !wrong; round++) {
                const uint32_t pushed[2] = {round * 97 + 1, count};
                VkCommandBuffer commands = begin_commands();

                vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
                vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, NULL);
                vkCmdPushConstants(commands, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, pushed);
                vkCmdDispatch(commands, side, (count / 64 + side - 1) / side, 1);
                run_commands(commands);
                for (uint32_t i = 0; i < count && !wrong; i++)
                        wrong = buffer.words[i] != i * 2654435761U + pushed[0];
        }
        clock_gettime(CLOCK_MONOTONIC, &ended);
        printf("# %u rounds of %u MiB in %.3f s: %s\n", rounds, mib,
               (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9,
               wrong ? "wrong" : "right");
        vkDestroyPipeline(device, pipeline, NULL);
        vkDestroyPipelineLayout(device, layout, NULL);
        vkDestroyDescriptorPool(device, descriptors, NULL);
        vkDestroyDescriptorSetLayout(device, set_layout, NULL);
        vkDestroyShaderModule(device, shader, NULL);
        buffer_free(&buffer);
        return wrong;
}

/* ---- draw ---- */

static VkRenderPass pass_new(void)
{
        const VkAttachmentDescription attachment = {.format = VK_FORMAT_R8G8B8A8_UNORM,
                                                    .samples = VK_SAMPLE_COUNT_1_BIT,
                                                    .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
                                                    .storeOp = VK_ATTACHMENT_STORE_OP_STORE,
                                                    .finalLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL};
        const VkAttachmentReference reference = {0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
        const VkSubpassDescription subpass = {.colorAttachmentCount = 1, .pColorAttachments = &reference};
        const VkRenderPassCreateInfo info = {.sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO,
                                             .attachmentCount = 1,
                                             .pAttachments = &attachment,
                                             .subpassCount = 1,
                                             .pSubpasses = &subpass};
        VkRenderPass pass;

        CHECK(vkCreateRenderPass(device, &info, NULL, &pass));
        return pass;
}

static VkPipeline triangle_new(VkRenderPass pass, VkPipelineLayout layout)
{
        const VkPipelineShaderStageCreateInfo stages[] = {
                {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                 .stage = VK_SHADER_STAGE_VERTEX_BIT,
                 .module = shader_new(vert_code, sizeof(vert_code)),
                 .pName = "main"},
                {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                 .stage = VK_SHADER_STAGE_FRAGMENT_BIT,
                 .module = shader_new(frag_code, sizeof(frag_code)),
                 .pName = "main"},
        };
        const VkPipelineVertexInputStateCreateInfo input = {
                .sType = VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO};
        const VkPipelineInputAssemblyStateCreateInfo assembly = {
                .sType = VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO,
                .topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST};
        const VkViewport viewport = {0, 0, SIDE, SIDE, 0, 1};
        const VkRect2D scissor = {{0, 0}, {SIDE, SIDE}};
        const VkPipelineViewportStateCreateInfo view = {.sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO,
                                                        .viewportCount = 1,
                                                        .pViewports = &viewport,
                                                        .scissorCount = 1,
                                                        .pScissors = &scissor};
        const VkPipelineRasterizationStateCreateInfo raster = {
                .sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO,
                .cullMode = VK_CULL_MODE_NONE,
                .lineWidth = 1};
        const VkPipelineMultisampleStateCreateInfo samples = {
                .sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO,
                .rasterizationSamples = VK_SAMPLE_COUNT_1_BIT};
        const VkPipelineColorBlendAttachmentState blend = {.colorWriteMask = 0xf};
        const VkPipelineColorBlendStateCreateInfo blends = {
                .sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO,
                .attachmentCount = 1,
                .pAttachments = &blend};
        const VkGraphicsPipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO,
                                                   .stageCount = 2,
                                                   .pStages = stages,
                                                   .pVertexInputState = &input,
                                                   .pInputAssemblyState = &assembly,
                                                   .pViewportState = &view,
                                                   .pRasterizationState = &raster,
                                                   .pMultisampleState = &samples,
                                                   .pColorBlendState = &blends,
                                                   .layout = layout,
                                                   .renderPass = pass};
        VkPipeline pipeline;

        CHECK(vkCreateGraphicsPipelines(device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline));
        vkDestroyShaderModule(device, stages[0].module, NULL);
        vkDestroyShaderModule(device, stages[1].module, NULL);
        return pipeline;
}

static void write_picture(const char *path, const uint32_t *pixels)
{
        FILE *file = fopen(path, "wb");

        if (!file)
                exit(1);
        fprintf(file, "P6\n%d %d\n255\n", SIDE, SIDE);
        for (unsigned i = 0; i < SIDE * SIDE; i++)
                fwrite(&pixels[i], 1, 3, file);
        fclose(file);
}

static int draw(const char *path)
{
        const VkImageCreateInfo image_info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                                              .imageType = VK_IMAGE_TYPE_2D,
                                              .format = VK_FORMAT_R8G8B8A8_UNORM,
                                              .extent = {SIDE, SIDE, 1},
                                              .mipLevels = 1,
                                              .arrayLayers = 1,
                                              .samples = VK_SAMPLE_COUNT_1_BIT,
                                              .usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT |
                                                       VK_IMAGE_USAGE_TRANSFER_SRC_BIT};
        const VkPipelineLayoutCreateInfo layout_info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
        const VkClearValue clear = {.color = {.float32 = {0.1f, 0.1f, 0.2f, 1}}};
        const VkBufferImageCopy copy = {.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
                                        .imageExtent = {SIDE, SIDE, 1}};
        struct buffer buffer = buffer_new(SIDE * SIDE * 4, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
        VkRenderPass pass = pass_new();
        VkMemoryRequirements needed;
        VkPipelineLayout layout;
        VkFramebuffer framebuffer;
        VkImageView view;
        VkImage image;

        CHECK(vkCreateImage(device, &image_info, NULL, &image));
        vkGetImageMemoryRequirements(device, image, &needed);

        VkDeviceMemory memory = allocate(&needed, 0);

        CHECK(vkBindImageMemory(device, image, memory, 0));

        const VkImageViewCreateInfo view_info = {.sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
                                                 .image = image,
                                                 .viewType = VK_IMAGE_VIEW_TYPE_2D,
                                                 .format = VK_FORMAT_R8G8B8A8_UNORM,
                                                 .subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1}};

        CHECK(vkCreateImageView(device, &view_info, NULL, &view));

        const VkFramebufferCreateInfo frame_info = {.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO,
                                                    .renderPass = pass,
                                                    .attachmentCount = 1,
                                                    .pAttachments = &view,
                                                    .width = SIDE,
                                                    .height = SIDE,
                                                    .layers = 1};

        CHECK(vkCreateFramebuffer(device, &frame_info, NULL, &framebuffer));
        CHECK(vkCreatePipelineLayout(device, &layout_info, NULL, &layout));

        VkPipeline pipeline = triangle_new(pass, layout);
        const VkRenderPassBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO,
                                             .renderPass = pass,
                                             .framebuffer = framebuffer,
                                             .renderArea = {{0, 0}, {SIDE, SIDE}},
                                             .clearValueCount = 1,
                                             .pClearValues = &clear};
        VkCommandBuffer commands = begin_commands();

        vkCmdBeginRenderPass(commands, &begin, VK_SUBPASS_CONTENTS_INLINE);
        vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
        vkCmdDraw(commands, 3, 1, 0, 0);
        vkCmdEndRenderPass(commands);
        vkCmdCopyImageToBuffer(commands, image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, buffer.buffer, 1, &copy);
        run_commands(commands);
        write_picture(path, buffer.words);
        vkDestroyPipeline(device, pipeline, NULL);
        vkDestroyPipelineLayout(device, layout, NULL);
        vkDestroyFramebuffer(device, framebuffer, NULL);
        vkDestroyImageView(device, view, NULL);
        vkDestroyImage(device, image, NULL);
        vkFreeMemory(device, memory, NULL);
        vkDestroyRenderPass(device, pass, NULL);
        buffer_free(&buffer);
        return 0;
}

/* ---- many ---- */

static int many(uint32_t n)
{
        const VkMemoryRequirements needed = {4096, 4096, UINT32_MAX};
        const VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                           .allocationSize = 4096,
                                           .memoryTypeIndex = memory_type(needed.memoryTypeBits, HOST)};
        VkDeviceMemory *memory = calloc(n, sizeof(*memory));
        uint32_t mapped = 0;
        VkResult r = VK_SUCCESS;
        uint8_t *bytes;

        while (mapped < n && (r = vkAllocateMemory(device, &info, NULL, &memory[mapped])) == VK_SUCCESS) {
                r = vkMapMemory(device, memory[mapped], 0, 4096, 0, (void **)&bytes);
                if (r != VK_SUCCESS) {
                        vkFreeMemory(device, memory[mapped], NULL);
                        break;
                }
                bytes[4095] = (uint8_t)mapped;
                mapped++;
        }
        printf("# %u of %u mapped, VkResult %d\n", mapped, n, r);
        for (uint32_t i = 0; i < mapped; i++)
                vkFreeMemory(device, memory[i], NULL);
        free(memory);
        return mapped == 0;
}

/* ---- hold ---- */

/* The device may be lost meanwhile, so that it is not called any more. */
static int hold(uint32_t n, const char *path)
{
        const VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                           .allocationSize = 4096,
                                           .memoryTypeIndex = memory_type(UINT32_MAX, HOST)};
        volatile uint8_t **bytes = calloc(n, sizeof(*bytes));
        uint32_t old = 0;

        for (uint32_t i = 0; i < n; i++) {
                VkDeviceMemory memory;

                CHECK(vkAllocateMemory(device, &info, NULL, &memory));
                CHECK(vkMapMemory(device, memory, 0, 4096, 0, (void **)&bytes[i]));
                memset((void *)(uintptr_t)bytes[i], 0x5a, 4096);
        }
        printf("# held %u\n", n);
        while (access(path, F_OK) < 0)
                usleep(10000);
        for (uint32_t i = 0; i < n; i++)
                old += bytes[i][0] == 0x5a || bytes[i][4095] == 0x5a;
        printf("# old %u\n", old);
        _exit(0);
}

int main(int argc, char **argv)
{
        int wrong = 2;

        if (argc < 3)
                return 2;
        setvbuf(stdout, NULL, _IOLBF, 0);
        open_device();
        if (strcmp(argv[1], "fill") == 0)
                wrong = fill((uint32_t)atoi(argv[2]), argc > 3 ? (uint32_t)atoi(argv[3]) : 1);
        else if (strcmp(argv[1], "draw") == 0)
                wrong = draw(argv[2]);
        else if (strcmp(argv[1], "hold") == 0 && argc > 3)
                wrong = hold((uint32_t)atoi(argv[2]), argv[3]);
        else if (strcmp(argv[1], "many") == 0)
                wrong = many((uint32_t)atoi(argv[2]));
        close_device();
        return wrong;
}
