/* A guest's screen as qemu gives it, as a picture people can look at. */
#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

#define SIDE_MAX 16384

struct pixmap {
	unsigned width, height;
	const unsigned char *rows;	/* three bytes a pixel */
};

/* "P6 WIDTH HEIGHT 255", one blank, the pixels; ppm(5). */
static int pixmap_read(const char *ppm, size_t len, struct pixmap *ret, struct err *e)
{
	char head[64] = "";
	unsigned max;
	int used = 0;

	memcpy(head, ppm ? ppm : "", len < sizeof head - 1 ? len : sizeof head - 1);
	if (sscanf(head, "P6 %5u %5u %3u%n", &ret->width, &ret->height, &max, &used) != 3 || max != 255 || !ret->width || !ret->height ||
	    ret->width > SIDE_MAX || ret->height > SIDE_MAX || (size_t)used + 1 + 3UL * ret->width * ret->height > len)
		return err_set(e, EBADMSG, "the hypervisor's picture is no pixmap");
	ret->rows = (const unsigned char *)ppm + used + 1;
	return 0;
}

static void on_error(png_structp png, png_const_charp why)
{
	struct err *e = png_get_error_ptr(png);

	err_set(e, EIO, "write a PNG: %s", why);
	png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp why)
{
}

static int png_put(png_structp png, png_infop info, const struct pixmap *p, FILE *out, struct err *e)
{
	if (setjmp(png_jmpbuf(png)))
		return -e->code;
	png_init_io(png, out);
	png_set_compression_level(png, 3);	/* mostly one color: more effort saves nothing */
	png_set_IHDR(png, info, p->width, p->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
		     PNG_FILTER_TYPE_DEFAULT);
	png_write_info(png, info);
	for (unsigned y = 0; y < p->height; y++)
		png_write_row(png, p->rows + 3UL * p->width * y);
	png_write_end(png, info);
	return 0;
}

int hyper_ppm_to_png(const char *ppm, size_t len, FILE *out, struct err *e)
{
	struct pixmap p;

	if (pixmap_read(ppm, len, &p, e) < 0)
		return -e->code;
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, e, on_error, on_warning);
	png_infop info = png ? png_create_info_struct(png) : NULL;
	int rc = info ? png_put(png, info, &p, out, e) : err_set(e, ENOMEM, "%m");

	png_destroy_write_struct(&png, &info);
	return rc;
}
