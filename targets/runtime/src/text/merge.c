/* merge.c - the lowest rank first, of equal ones the leftmost.
 *
 * Short rows are searched from end to end.  Long ones keep a tree of ranks: a node is the lowest
 * rank of its 16 children, so that the next merge is found, and what it changes is mended, in a
 * few steps.
 */
#include "merge.h"

enum { SHORT = 32, FAN = 16, MOST_LEVELS = 8 };

static uint32_t rank_of(const bitx_tables *tables, uint32_t a, uint32_t b)
{
    const uint32_t index = bitx_find_merge(tables, a, b);
    if (tables->head.ranks == 0 || index == BITX_NONE) return index;
    const uint32_t token = tables->merges[index].token;
    return token < tables->head.tokens ? tables->token_ranks[token] : BITX_NONE;
}

/* What two neighbours of that rank become. */
static uint32_t merged(const bitx_tables *tables, uint32_t rank, uint32_t a, uint32_t b)
{
    const uint32_t index = tables->head.ranks ? bitx_find_merge(tables, a, b) : rank;
    return tables->merges[index].token;
}

/* ---- Short rows ---------------------------------------------------------------------------- */

static size_t merge_short(const bitx_tables *tables, uint32_t *restrict token,
                          uint32_t *restrict rank, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++)
        rank[i] = rank_of(tables, token[i], token[i + 1]);

    for (;;) {
        uint32_t lowest = BITX_NONE;
        size_t at = 0;
        for (size_t i = 0; i + 1 < count; i++)
            if (rank[i] < lowest) {
                lowest = rank[i];
                at = i;
            }
        if (lowest == BITX_NONE) return count;

        token[at] = merged(tables, lowest, token[at], token[at + 1]);
        count--;
        for (size_t i = at + 1; i < count; i++) {
            token[i] = token[i + 1];
            rank[i - 1] = rank[i];
        }
        if (at > 0) rank[at - 1] = rank_of(tables, token[at - 1], token[at]);
        if (at + 1 < count) rank[at] = rank_of(tables, token[at], token[at + 1]);
    }
}

/* ---- Long rows ----------------------------------------------------------------------------- */

typedef struct rank_tree {
    uint32_t *level[MOST_LEVELS]; /* level 0: a rank for each symbol and its right neighbour */
    size_t levels;                /* the last one has one group of children */
} rank_tree;

static uint64_t groups(uint64_t nodes)
{
    return (nodes + FAN - 1) / FAN;
}

uint64_t bitx_rank_nodes(uint64_t symbols)
{
    uint64_t nodes = 0, level = symbols;
    do {
        level = groups(level);
        nodes += level * FAN;
    } while (level > 1);
    return nodes;
}

static uint32_t lowest_child(const uint32_t *children)
{
    uint32_t lowest = children[0];
    for (size_t i = 1; i < FAN; i++)
        lowest = children[i] < lowest ? children[i] : lowest;
    return lowest;
}

/* Lays the upper levels behind the first, whose `count` ranks are there. */
static rank_tree grow(uint32_t *rank, size_t count)
{
    rank_tree tree = {{rank}, 1};

    for (;;) {
        uint32_t *const level = tree.level[tree.levels - 1];
        const size_t parents = (size_t)groups(count);
        for (size_t i = count; i < parents * FAN; i++)
            level[i] = BITX_NONE;
        if (parents <= 1) return tree;
        uint32_t *const above = level + parents * FAN;
        for (size_t i = 0; i < parents; i++)
            above[i] = lowest_child(level + i * FAN);
        tree.level[tree.levels++] = above;
        count = parents;
    }
}

static void set_rank(const rank_tree *tree, size_t at, uint32_t rank)
{
    tree->level[0][at] = rank;
    for (size_t i = 1; i < tree->levels; i++) {
        const uint32_t lowest = lowest_child(tree->level[i - 1] + at / FAN * FAN);
        at /= FAN;
        if (tree->level[i][at] == lowest) return;
        tree->level[i][at] = lowest;
    }
}

/* The leftmost symbol of the lowest rank. */
static size_t find_lowest(const rank_tree *tree, uint32_t *rank)
{
    const uint32_t lowest = lowest_child(tree->level[tree->levels - 1]);
    size_t at = 0;

    for (size_t i = tree->levels; i-- > 0;) {
        at *= FAN;
        while (tree->level[i][at] != lowest)
            at++;
    }
    *rank = lowest;
    return at;
}

/* A symbol keeps its place, that of the first one in it.  Its span stands at its first and at its
 * last place, so that both neighbours are found. */
static size_t merge_long(const bitx_tables *tables, const bitx_symbols *symbols, size_t count)
{
    uint32_t *const token = symbols->token, *const span = symbols->span;

    for (size_t i = 0; i < count; i++)
        span[i] = 1;
    for (size_t i = 0; i + 1 < count; i++)
        symbols->rank[i] = rank_of(tables, token[i], token[i + 1]);
    symbols->rank[count - 1] = BITX_NONE;
    const rank_tree tree = grow(symbols->rank, count);

    for (;;) {
        uint32_t rank;
        const size_t at = find_lowest(&tree, &rank);
        if (rank == BITX_NONE) break;

        const size_t right = at + span[at], end = right + span[right];
        token[at] = merged(tables, rank, token[at], token[right]);
        span[at] = span[end - 1] = (uint32_t)(end - at);
        set_rank(&tree, right, BITX_NONE);
        set_rank(&tree, at, end < count ? rank_of(tables, token[at], token[end]) : BITX_NONE);
        if (at > 0) {
            const size_t left = at - span[at - 1];
            set_rank(&tree, left, rank_of(tables, token[left], token[at]));
        }
    }

    size_t left_over = 0;
    for (size_t i = 0; i < count; i += span[i])
        token[left_over++] = token[i];
    return left_over;
}

size_t bitx_merge(const bitx_tables *tables, const bitx_symbols *symbols, size_t count)
{
    if (count < 2 || tables->head.merges == 0) return count;
    if (count <= SHORT) return merge_short(tables, symbols->token, symbols->rank, count);
    return merge_long(tables, symbols, count);
}
