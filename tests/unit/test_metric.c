/* OpenMetrics text: what promtool and parsers make of it is tests/mount/metrics.sh; here the bytes. */
#include "../../backends/base/metric.h"

#include <pthread.h>
#include <stdlib.h>

#include "../../backends/base/auto.h"
#include "../../backends/base/utf8.h"
#include "check.h"

static char *text;
static size_t size;

static FILE *begin(void)
{
	free(steal_ptr(&text));
	return open_memstream(&text, &size);
}

static const char *said(FILE *f)
{
	fclose(f);
	return text;
}

static const char *labelled(const char *value)
{
	FILE *f = begin();

	metric_put(f, "x", 1, "l", value, NULL);
	return said(f);
}

static void a_sample_has_labels_or_none(void)
{
	FILE *f = begin();

	metric_put(f, "x", 3, NULL);
	metric_put(f, "x", 3, "a", "1", "b", "", NULL);
	CHECK_STR(said(f), "x 3\nx{a=\"1\",b=\"\"} 3\n");
}

static void labels_are_escaped(void)
{
	CHECK_STR(labelled("a\"b"), "x{l=\"a\\\"b\"} 1\n");
	CHECK_STR(labelled("a\\b\\"), "x{l=\"a\\\\b\\\\\"} 1\n");
	CHECK_STR(labelled("a\nb"), "x{l=\"a\\nb\"} 1\n");
	CHECK_STR(labelled("{},= #\t"), "x{l=\"{},= #\t\"} 1\n");
}

static void utf8_is_kept_and_what_is_none_is_marked(void)
{
	CHECK_STR(labelled("h\xc3\xa4user \xf0\x9f\x8f\xa0"), "x{l=\"h\xc3\xa4user \xf0\x9f\x8f\xa0\"} 1\n");
	CHECK_STR(labelled("\xff"), "x{l=\"\xef\xbf\xbd\"} 1\n");
	CHECK_STR(labelled("\xc3"), "x{l=\"\xef\xbf\xbd\"} 1\n");
	CHECK_STR(labelled("\xc3\"a"), "x{l=\"\xef\xbf\xbd\\\"a\"} 1\n");
	CHECK_STR(labelled("\xc0\xaf"), "x{l=\"\xef\xbf\xbd\xef\xbf\xbd\"} 1\n");	/* an overlong '/' */
	CHECK_STR(labelled("\xed\xa0\x80"), "x{l=\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"} 1\n");	/* a surrogate */
	CHECK_INT(utf8_len((const unsigned char *)"\xe2\x82\xac", 3), 3);
	CHECK_INT(utf8_len((const unsigned char *)"\xe2\x82\xac", 2), 0);
	CHECK_INT(utf8_len((const unsigned char *)"", 0), 0);
}

static void numbers_are_exact_where_a_double_is(void)
{
	static const struct { double v; const char *text; } rows[] = {
		{ 0, "x 0\n" }, { -1, "x -1\n" }, { 0.25, "x 0.25\n" }, { 1e12, "x 1000000000000\n" }, { 12345678901.5, "x 12345678901.5\n" },
		{ 4503599627370497.0, "x 4503599627370497\n" }, { 1e300, "x 1e+300\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		FILE *f = begin();

		metric_put(f, "x", rows[i].v, NULL);
		CHECK_STR(said(f), rows[i].text);
	}
}

static void a_family_says_type_and_unit_as_both_formats_take_it(void)
{
	FILE *f = begin();

	metric_family(f, "x_bytes", METRIC_GAUGE, "Size.");
	metric_family(f, "x_seconds", METRIC_HISTOGRAM, "Time.");
	metric_family(f, "x_seconds_total", METRIC_COUNTER, "Time in all.");
	metric_family(f, "bytes", METRIC_GAUGE, "A name is no unit.");
	metric_end(f);
	CHECK_STR(said(f), "# TYPE x_bytes gauge\n# UNIT x_bytes bytes\n# HELP x_bytes Size.\n"
		  "# TYPE x_seconds histogram\n# UNIT x_seconds seconds\n# HELP x_seconds Time.\n"
		  "# HELP x_seconds_total Time in all.\n# TYPE bytes gauge\n# HELP bytes A name is no unit.\n# EOF\n");
}

static const struct bound two[] = { { 1000, "0.001" }, { 1000000, "1.0" }, { 0 } };

static void a_histogram_counts_up_to_and_with_each_bound(void)
{
	struct histogram h = { 0 };
	FILE *f = begin();

	for (int64_t us = 999; us <= 1001; us++)
		histogram_add(&h, two, us);
	histogram_add(&h, two, 0);
	histogram_add(&h, two, -5);	/* a clock that went back */
	histogram_add(&h, two, 2000000);
	histogram_put(f, "t", &h, two, "k", "a\"", NULL);
	histogram_put(f, "t", &h, two, NULL);
	CHECK_INT(histogram_count(&h), 6);
	CHECK_STR(said(f), "t_bucket{k=\"a\\\"\",le=\"0.001\"} 4\nt_bucket{k=\"a\\\"\",le=\"1.0\"} 5\nt_bucket{k=\"a\\\"\",le=\"+Inf\"} 6\n"
		  "t_count{k=\"a\\\"\"} 6\nt_sum{k=\"a\\\"\"} 2.003\n"
		  "t_bucket{le=\"0.001\"} 4\nt_bucket{le=\"1.0\"} 5\nt_bucket{le=\"+Inf\"} 6\nt_count 6\nt_sum 2.003\n");
}

/* A bound is looked up by its number, and shown by its text. */
static void bounds_rise_and_say_what_they_are(void)
{
	const struct bound *const all[] = { bounds_short, bounds_long };

	for (size_t k = 0; k < ARRAY_LEN(all); k++) {
		size_t n = 0;

		for (; all[k][n].us; n++) {
			CHECK(n == 0 || all[k][n].us > all[k][n - 1].us);
			CHECK_INT((int64_t)(strtod(all[k][n].le, NULL) * 1e6 + 0.5), all[k][n].us);
		}
		CHECK(n <= BOUNDS_MAX);
	}
}

static struct histogram shared;

static void *add_many(void *arg)
{
	for (int i = 0; i < 100000; i++)
		histogram_add(&shared, bounds_short, i % 2000);
	return NULL;
}

static void nothing_is_lost_among_threads(void)
{
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, add_many, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	CHECK_INT(histogram_count(&shared), 400000);
	CHECK_INT(shared.sum_us, 4 * 50 * (1999 * 2000 / 2));
}

int main(void)
{
	RUN(a_sample_has_labels_or_none);
	RUN(labels_are_escaped);
	RUN(utf8_is_kept_and_what_is_none_is_marked);
	RUN(numbers_are_exact_where_a_double_is);
	RUN(a_family_says_type_and_unit_as_both_formats_take_it);
	RUN(a_histogram_counts_up_to_and_with_each_bound);
	RUN(bounds_rise_and_say_what_they_are);
	RUN(nothing_is_lost_among_threads);
	free(text);
	return DONE();
}
