/* ort_picture.c - ops of one picture: how its shape changes, and the attributes of a window.
 *
 * A picture of a graph has the shape [1, positions, channels]; planes have [1, channels, height,
 * width].  Both are rows of which the runtime knows how many there are.
 */
#include "ort_call.h"

#include <stdio.h>
#include <string.h>

static bitx_ort_status *refuse_attribute(const ort_kernel *kernel, const char *name)
{
    char text[128];
    (void)snprintf(text, sizeof text, "ai.bitexport %s: attribute `%s` is out of range",
                   kernel->form->name, name);
    return kernel->api->create_status(BITX_ORT_INVALID_ARGUMENT, text);
}

/* Reads `count` numbers up to `most`, each at least `least`. */
static bitx_ort_status *read_numbers(uint32_t *to, const ort_kernel *kernel,
                                     const bitx_ort_kernel_info *info, const char *name,
                                     size_t count, int64_t least, int64_t most)
{
    int64_t numbers[4] = {0};
    size_t found = 0;
    bitx_ort_status *status = kernel->api->attribute_ints(info, name, NULL, &found);
    if (status) return status;
    if (found != count) return refuse_attribute(kernel, name);
    status = kernel->api->attribute_ints(info, name, numbers, &found);
    for (size_t i = 0; !status && i < count; i++) {
        if (numbers[i] < least || numbers[i] > most) return refuse_attribute(kernel, name);
        to[i] = (uint32_t)numbers[i];
    }
    return status;
}

/* How often a window stands along one axis; 0 if it does not fit. */
static uint32_t steps(uint32_t size, uint32_t around, uint32_t kernel, uint32_t stride,
                      uint32_t dilation)
{
    const uint32_t whole = size + around, window = dilation * (kernel - 1) + 1;
    return whole < window ? 0 : (whole - window) / stride + 1;
}

bitx_ort_status *bitx_ort_read_window(ort_kernel *kernel, const bitx_ort_kernel_info *info)
{
    uint32_t size[2], window[2], stride[2], pad[4], dilation[2];
    bitx_ort_status *status = read_numbers(size, kernel, info, "picture", 2, 1, 0xffff);
    if (!status) status = read_numbers(window, kernel, info, "kernel_shape", 2, 1, 0xff);
    if (!status) status = read_numbers(stride, kernel, info, "strides", 2, 1, 0xff);
    if (!status) status = read_numbers(pad, kernel, info, "pads", 4, 0, 0xff);
    if (!status) status = read_numbers(dilation, kernel, info, "dilations", 2, 1, 0xff);
    if (status) return status;
    const uint32_t down = steps(size[0], pad[0] + pad[2], window[0], stride[0], dilation[0]);
    const uint32_t right = steps(size[1], pad[1] + pad[3], window[1], stride[1], dilation[1]);
    if (down == 0 || down > 0xffff || right == 0 || right > 0xffff)
        return refuse_attribute(kernel, "picture");
    kernel->attribute[0] = size[0] | size[1] << 16;
    kernel->attribute[1] = window[0] | window[1] << 8 | stride[0] << 16 | stride[1] << 24;
    kernel->attribute[2] = pad[0] | pad[1] << 8 | dilation[0] << 16 | dilation[1] << 24;
    kernel->attribute[3] = down | right << 16;
    return NULL;
}

int bitx_ort_is_of_picture(const ort_form *form)
{
    return strchr("mplr", form->outputs[1]) != NULL;
}

size_t bitx_ort_picture_dims(int64_t *dims, const ort_call *c, size_t i)
{
    const ort_tensor *x = &c->in[0];
    const uint32_t *attribute = c->call.attribute;
    const char rule = c->kernel->form->outputs[2 * i + 1];
    if (x->rank != (rule == 'l' ? 4 : 3) || x->dims[0] != 1) return 0;
    dims[0] = 1;
    if (rule == 'l') {
        dims[1] = x->dims[2] * x->dims[3];
        dims[2] = attribute[0];
        return 3;
    }
    if (rule == 'r') {
        dims[1] = x->dims[1] * x->dims[2];
        return 2;
    }
    dims[1] = (int64_t)(attribute[3] & 0xffff) * (attribute[3] >> 16);
    dims[2] = x->dims[2];
    if (rule == 'p') dims[2] *= (attribute[1] & 0xff) * (attribute[1] >> 8 & 0xff);
    return 3;
}
