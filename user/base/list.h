/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked list, circular, with the head as sentinel.
 * A node that is on no list points to itself after list_init() or list_del().
 */
#ifndef PENSTOCK_BASE_LIST_H
#define PENSTOCK_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next;
	struct list *prev;
};

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define list_for_each(node, head) \
	for (struct list *node = (head)->next; node != (head); node = node->next)

/* As list_for_each(), but the body may remove `node` (and no other node). */
#define list_for_each_safe(node, head) \
	for (struct list *node = (head)->next, *node##_next = node->next; node != (head); \
	     node = node##_next, node##_next = node->next)

static inline void list_init(struct list *node)
{
	node->next = node;
	node->prev = node;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_add_before(struct list *node, struct list *next)
{
	node->next = next;
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a list is a ring */
	node->prev = next->prev;
	next->prev->next = node;
	next->prev = node;
}

static inline void list_add_head(struct list *node, struct list *head)
{
	list_add_before(node, head->next);
}

static inline void list_add_tail(struct list *node, struct list *head)
{
	list_add_before(node, head);
}

static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* The first node, or NULL where the list is empty. */
static inline struct list *list_first(const struct list *head)
{
	return list_is_empty(head) ? NULL : head->next;
}

#endif
