// SPDX-License-Identifier: Apache-2.0
#include "util/probes.h"

VIEWFSD_DEFINE_PROBE(request_begin);
VIEWFSD_DEFINE_PROBE(request_end);
VIEWFSD_DEFINE_PROBE(wait);
VIEWFSD_DEFINE_PROBE(signal);
VIEWFSD_DEFINE_PROBE(map);
VIEWFSD_DEFINE_PROBE(unmap);
VIEWFSD_DEFINE_PROBE(fault_policy);
