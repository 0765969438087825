// SPDX-License-Identifier: Apache-2.0
/* POSIX access control lists, in the form that the kernel has them in extended attributes. */
#define _GNU_SOURCE
#include "check.h"

#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/xattr.h>

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

enum { MAX_ENTRIES = 8 };

struct acl {
	__le32 version;
	struct posix_acl_xattr_entry entries[MAX_ENTRIES];
};

struct entry {
	int tag, permissions;
	unsigned id;
};

static int set_acl(const char *name, const char *kind, size_t count, const struct entry *entries)
{
	struct acl acl = {.version = POSIX_ACL_XATTR_VERSION};
	for (size_t index = 0; index < count; index++) {
		acl.entries[index].e_tag = (__le16)entries[index].tag;
		acl.entries[index].e_perm = (__le16)entries[index].permissions;
		acl.entries[index].e_id = entries[index].id;
	}
	return setxattr(name, kind, &acl, sizeof(acl.version) + count * sizeof(acl.entries[0]), 0);
}

#define SET(name, kind, ...)                                                                                 \
	set_acl(name, kind, sizeof((struct entry[]){__VA_ARGS__}) / sizeof(struct entry), (struct entry[]){__VA_ARGS__})

#define NONE ACL_UNDEFINED_ID
#define OWNER(permissions) {ACL_USER_OBJ, permissions, NONE}
#define OWNING(permissions) {ACL_GROUP_OBJ, permissions, NONE}
#define MASK(permissions) {ACL_MASK, permissions, NONE}
#define OTHER(permissions) {ACL_OTHER, permissions, NONE}

/* The permissions of an entry; -1 where there is none, or no list. */
static int entry_of(const char *name, const char *kind, int tag)
{
	struct acl acl;
	ssize_t size = getxattr(name, kind, &acl, sizeof(acl));
	for (size_t index = 0; size > 4 && index < ((size_t)size - 4) / sizeof(acl.entries[0]); index++)
		if (acl.entries[index].e_tag == tag)
			return acl.entries[index].e_perm;
	return -1;
}

static int without_acls(const char *name)
{
	char value[4];
	MUST_FAIL(SET(name, ACCESS, OWNER(6), OWNING(4), OTHER(4)), EOPNOTSUPP);
	MUST_FAIL(getxattr(name, ACCESS, value, sizeof(value)), EOPNOTSUPP);
	return 0;
}

static int access_lists(void)
{
	MUST(make_file("file", 0640, "x") == 0);
	if (!trait("acl"))
		return without_acls("file");
	MUST(SET("file", ACCESS, OWNER(6), {ACL_USER, 6, USER}, OWNING(4), {ACL_GROUP, 4, TEAM}, MASK(6), OTHER(0)) == 0);
	/* The group bits of the mode are the mask now. */
	MUST_BE(mode_of("file"), 0660);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		MUST(open("file", O_RDWR) >= 0);
		return 0;
	}
	JOIN(child);
	child = become(STRANGER, STRANGER, true);
	if (child == 0) {
		MUST(open("file", O_RDONLY) >= 0);
		MUST_FAIL(open("file", O_WRONLY), EACCES);
		return 0;
	}
	JOIN(child);
	child = become(STRANGER, STRANGER, false);
	if (child == 0) {
		MUST_FAIL(open("file", O_RDONLY), EACCES);
		return 0;
	}
	JOIN(child);
	/* chmod changes the mask, which limits the others. */
	MUST(chmod("file", 0640) == 0 && entry_of("file", ACCESS, ACL_MASK) == 4);
	MUST_BE(entry_of("file", ACCESS, ACL_USER), 6);
	child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		MUST_FAIL(open("file", O_WRONLY), EACCES);
		MUST(open("file", O_RDONLY) >= 0);
		return 0;
	}
	JOIN(child);
	/* A list that says no more than a mode is one. */
	MUST(SET("file", ACCESS, OWNER(6), OWNING(0), OTHER(4)) == 0);
	MUST_BE(mode_of("file"), 0604);
	MUST_FAIL(getxattr("file", ACCESS, NULL, 0), ENODATA);
	MUST(SET("file", ACCESS, OWNER(6), {ACL_USER, 6, USER}, OWNING(4), MASK(6), OTHER(0)) == 0);
	MUST(removexattr("file", ACCESS) == 0 && entry_of("file", ACCESS, ACL_USER) == -1);
	return 0;
}

static int refusals(void)
{
	MUST(make_file("file", 0644, "x") == 0 && symlink("file", "link") == 0);
	if (!trait("acl"))
		return without_acls("file");
	MUST_FAIL(SET("file", DEFAULT, OWNER(6), OWNING(4), OTHER(4)), EACCES);
	MUST_FAIL(SET("file", ACCESS, OWNER(6), {ACL_USER, 6, USER}, OWNING(4), OTHER(4)), EINVAL);
	MUST_FAIL(setxattr("file", ACCESS, "nonsense", 8, 0), EOPNOTSUPP);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		MUST_FAIL(SET("file", ACCESS, OWNER(6), OWNING(6), OTHER(6)), EPERM);
		return 0;
	}
	JOIN(child);
	return 0;
}

static int default_lists(void)
{
	MUST(mkdir("dir", 0755) == 0);
	if (!trait("acl"))
		return without_acls("dir");
	MUST(SET("dir", DEFAULT, OWNER(7), {ACL_USER, 7, USER}, OWNING(5), MASK(7), OTHER(1)) == 0);
	/* Where there is a default list, there is no umask. */
	umask(077);
	int fd = open("dir/file", O_CREAT | O_EXCL | O_WRONLY, 0666);
	MUST(fd >= 0 && mkdir("dir/sub", 0777) == 0 && mkfifo("dir/fifo", 0666) == 0);
	MUST_BE(mode_of("dir/file"), 0660);
	MUST_BE(mode_of("dir/fifo"), 0660);
	MUST_BE(mode_of("dir/sub"), 0771);
	MUST_BE(entry_of("dir/file", ACCESS, ACL_USER), 7);
	MUST_BE(entry_of("dir/file", ACCESS, ACL_MASK), 6);
	MUST_BE(entry_of("dir/sub", ACCESS, ACL_USER), 7);
	MUST_BE(entry_of("dir/sub", DEFAULT, ACL_USER), 7);
	MUST_FAIL(getxattr("dir/file", DEFAULT, NULL, 0), ENODATA);
	fd = open("dir/private", O_CREAT | O_EXCL | O_WRONLY, 0600);
	MUST(fd >= 0 && mode_of("dir/private") == 0600);
	fd = open("dir", O_TMPFILE | O_RDWR, 0666);
	struct stat status;
	MUST(fd >= 0 && fstat(fd, &status) == 0 && (status.st_mode & 0777) == 0660);
	MUST(symlink("x", "dir/link") == 0);
	/* And where there is none, there is one. */
	MUST(mkdir("plain", 0777) == 0 && mode_of("plain") == 0700);
	MUST(open("plain/file", O_CREAT | O_WRONLY, 0666) >= 0);
	MUST_BE(mode_of("plain/file"), 0600);
	MUST(removexattr("dir", DEFAULT) == 0 && open("dir/later", O_CREAT | O_WRONLY, 0666) >= 0);
	MUST_BE(mode_of("dir/later"), 0600);
	return 0;
}

static int set_group_id(void)
{
	/* Whoever is not of the group and changes the list takes the bit away, as with chmod. */
	for (int member = 0; member < 2; member++) {
		unlink("file");
		MUST(make_file("file", 0755, "x") == 0);
		if (!trait("acl"))
			return without_acls("file");
		MUST(chown("file", USER, TEAM) == 0 && chmod("file", 02755) == 0);
		pid_t child = become(USER, GROUP_OF_USER, member);
		if (child == 0) {
			MUST(SET("file", ACCESS, OWNER(7), {ACL_USER, 7, STRANGER}, OWNING(5), MASK(7), OTHER(5)) == 0);
			return 0;
		}
		JOIN(child);
		MUST_BE(mode_of("file"), member ? 02775 : 0775);
	}
	return 0;
}

static int default_lists_of_a_set_group_id_directory(void)
{
	MUST(mkdir("dir", 0777) == 0 && chown("dir", 0, TEAM) == 0 && chmod("dir", 02777) == 0);
	if (!trait("acl"))
		return without_acls("dir");
	MUST(SET("dir", DEFAULT, OWNER(7), OWNING(7), {ACL_GROUP, 7, TEAM}, MASK(7), OTHER(7)) == 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		umask(0);
		MUST(open("dir/file", O_CREAT | O_WRONLY, 02777) >= 0 && mkdir("dir/sub", 0700) == 0);
		return 0;
	}
	JOIN(child);
	MUST_BE(mode_of("dir/file"), 0777);
	MUST_BE(mode_of("dir/sub"), 02700);
	MUST_BE(status_of("dir/sub").st_gid, TEAM);
	return 0;
}

CLASS(acl, "acl", {"access lists", access_lists}, {"refusals", refusals}, {"default lists, and the umask", default_lists},
      {"set-group-ID and a change of the list", set_group_id},
      {"default lists in a set-group-ID directory", default_lists_of_a_set_group_id_directory});
