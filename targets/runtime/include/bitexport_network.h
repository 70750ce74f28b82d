/* bitexport_network.h - what only networks have that are no language models.
 *
 * They run by bitx_run() of bitexport.h: inputs and outputs by name.
 */
#ifndef BITEXPORT_NETWORK_H
#define BITEXPORT_NETWORK_H

#include "bitexport.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Runs the samples that the file carries and compares with what the reference computed when the
 * file was built: of a session opened with keep_all_rows and unfused every op output, else the
 * outputs of the network.  chains: 32 bytes for every op output in the plan.  *result: of position
 * the samples that were run, of op_output the first that differs, or UINT32_MAX.
 * BITX_E_ARGUMENT if the file has no self-test, or is a language model. */
bitx_status bitx_network_test(bitx_session *session, void *chains, size_t chains_bytes,
                              bitx_self_test_result *result);

#ifdef __cplusplus
}
#endif
#endif /* BITEXPORT_NETWORK_H */
