/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of the configuration, read through descriptors (the worker cannot open any) into memory
 * that is wiped afterwards; and OpenSSL's complaints about them, as diagnostics. Does not know what
 * the files are for.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls/tls_ctx_internal.h"
#include "tls/tls_internal.h"

#define PEM_FILE_MAX (4 * 1024 * 1024)

/* pread(2): the descriptor's own offset is shared with other processes. 0 or -errno. */
static int pem_read_all(int fd, struct tls_pem *pem)
{
	size_t done = 0;

	while (done < pem->len_bytes) {
		ssize_t n = pread(fd, pem->data + done, pem->len_bytes - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	pem->len_bytes = done;
	return 0;
}

int tls_pem_read(const struct conf_file *file, const struct tls_files *files, const char *secret,
		 struct conf_diag *diag, struct tls_pem *ret_pem)
{
	struct tls_pem pem = {0};
	int fd = files->find(files->argument, file->path), err = 0;

	if (fd < 0 || fstat(fd, &pem.st)) {
		err = fd < 0 ? fd : -errno;
		conf_diag_add(diag, file->mark, "cannot read \"%s\": %s", file->path,
			      strerror(-err));
		return err;
	}
	if (!S_ISREG(pem.st.st_mode) || pem.st.st_size > PEM_FILE_MAX) {
		conf_diag_add(diag, file->mark, "\"%s\" is %s", file->path,
			      S_ISREG(pem.st.st_mode) ? "larger than 4 MiB" : "not a regular file");
		return -EINVAL;
	}
	if (secret && (pem.st.st_mode & S_IROTH))
		conf_diag_warn(diag, file->mark,
			       "the %s in \"%s\" can be read by every user of this host", secret,
			       file->path);
	pem.len_bytes = (size_t)pem.st.st_size;
	pem.data = OPENSSL_malloc(pem.len_bytes + 1);
	err = pem.data ? pem_read_all(fd, &pem) : -ENOMEM;
	if (err) {
		conf_diag_add(diag, file->mark, "cannot read \"%s\": %s", file->path,
			      strerror(-err));
		tls_pem_done(&pem);
		return err;
	}
	*ret_pem = pem;
	return 0;
}

void tls_pem_done(struct tls_pem *pem)
{
	OPENSSL_clear_free(pem->data, pem->len_bytes);
	*pem = (struct tls_pem){0};
}

const char *tls_openssl_reason(void)
{
	unsigned long code = ERR_peek_error();
	const char *words;

	if (!code)
		return "no reason given";
	if (ERR_SYSTEM_ERROR(code))
		return strerror(ERR_GET_REASON(code));
	if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER)
		return "what came is not TLS (wrong version number)";
	words = ERR_reason_error_string(code);
	return words ? words : "unknown reason";
}

void tls_pem_complain(struct conf_diag *diag, const struct conf_file *file, const char *what)
{
	conf_diag_add(diag, file->mark, "%s \"%s\": %s", what, file->path, tls_openssl_reason());
	ERR_clear_error();
}

bool tls_pem_has_error(void)
{
	unsigned long code = ERR_peek_last_error();

	if (!code)
		return false;
	if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
		return true;
	ERR_clear_error();
	return false;
}
