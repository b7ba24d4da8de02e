/* /metrics: OpenMetrics text (openmetrics.io, 1.0). */
#pragma once

#include "cloud.h"

int metrics_show(struct call *c, FILE *out, struct err *e);
