// The layers of an encoder over packed tokens, for processors with AVX512-BF16 and AVX512-VNNI; avx512.py calls them.
//
// All of it stands on one product: rows times columns, four bytes of each at a time. Four bytes are one number in float32, two
// in bf16 and four in int8; the instruction differs, the loop does not. Columns come in panels of 32, laid out in the order in
// which the loop reads them: panel, four bytes of a column, column. A row's result depends on that row alone, to the last bit.

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace {

constexpr int LANES = 16;               // numbers of four bytes in a register
constexpr int PANEL = 2 * LANES;        // columns computed at a time
constexpr int MOST_ROWS = 12;           // rows computed at a time: 24 registers of sums, 2 of columns, 1 of a row
constexpr int BLOCK_BYTES = 512 << 10;  // of rows that pass all panels while they stay in the second-level cache
constexpr int BYTES_AHEAD = 2 << 10;    // how far before its use a panel is fetched

using Floats = __m512;
using Bytes = __m512i;
// Unlike __m512i, it may not alias other types, so that compilers keep arrays of it in registers.
typedef int Wholes __attribute__((vector_size(64)));

// ---------------------------------------------------------------------------------------------------------- numbers

struct BFloat16 {
    uint16_t bits;
};

// Each kind of number: how a register of sums takes up four bytes of a row times four bytes of 16 columns; what rows come in.
struct Float32Product {
    using Sums = Floats;
    using Value = float;
    static constexpr int GROUP = 1;  // numbers in four bytes
    static Sums add(Sums sums, Bytes row, Bytes columns) {
        return _mm512_fmadd_ps(_mm512_castsi512_ps(row), _mm512_castsi512_ps(columns), sums);
    }
};

struct BFloat16Product {
    using Sums = Floats;
    using Value = BFloat16;
    static constexpr int GROUP = 2;
    static Sums add(Sums sums, Bytes row, Bytes columns) { return _mm512_dpbf16_ps(sums, (__m512bh)row, (__m512bh)columns); }
};

struct Int8Product {
    using Sums = Wholes;
    using Value = BFloat16;
    static constexpr int GROUP = 4;
    static Sums add(Sums sums, Bytes row, Bytes columns) { return (Sums)_mm512_dpbusd_epi32((Bytes)sums, row, columns); }
};

inline Floats load(const float* from) { return _mm512_loadu_ps(from); }
inline Floats load(const BFloat16* from) {
    const Bytes bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}
inline void store(float* to, Floats values) { _mm512_storeu_ps(to, values); }
inline void store(BFloat16* to, Floats values) { _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(values)); }

// -------------------------------------------------------------------------------------------------------- functions
// Of two numbers of which one is none, the processor's max and min return the second: there stands what must not be hidden.

// Returns sum of terms[i] * values^(n - 1 - i).
template <size_t n>
inline Floats polynomial(Floats values, const float (&terms)[n]) {
    Floats sum = _mm512_set1_ps(terms[0]);
    for (size_t term = 1; term < n; ++term) sum = _mm512_fmadd_ps(sum, values, _mm512_set1_ps(terms[term]));
    return sum;
}

// Returns e^values, below e^-104 nothing, to two units of the last place.
inline Floats exponential(Floats values) {
    values = _mm512_max_ps(_mm512_set1_ps(-104.0f), values);
    const Floats whole = _mm512_roundscale_ps(_mm512_mul_ps(values, _mm512_set1_ps(1.44269504f)), 0);
    // ln 2 in two parts, of which the first times a whole number is exact
    Floats rest = _mm512_fnmadd_ps(whole, _mm512_set1_ps(0.693359375f), values);
    rest = _mm512_fnmadd_ps(whole, _mm512_set1_ps(-2.12194440e-4f), rest);
    return _mm512_scalef_ps(polynomial(rest, {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}), whole);
}

// GELU as exactly as the numbers need it that it is stored as; the pointer, to nothing, only says which they are.
// To 1e-6: half the error function is Abramowitz and Stegun's 7.1.26.
inline Floats gelu(Floats values, const float*) {
    const Floats one = _mm512_set1_ps(1.0f), size = _mm512_mul_ps(_mm512_abs_ps(values), _mm512_set1_ps(0.707106781f));
    const Floats inverse = _mm512_div_ps(one, _mm512_fmadd_ps(size, _mm512_set1_ps(0.3275911f), one));
    const Floats sum = polynomial(inverse, {0.5307027145f, -0.7265760135f, 0.7107068705f, -0.142248368f, 0.127414796f, 0.0f});
    const Floats tail = _mm512_mul_ps(sum, exponential(_mm512_fnmadd_ps(size, size, _mm512_setzero_ps())));
    const __mmask16 is_positive = _mm512_cmp_ps_mask(values, _mm512_setzero_ps(), _CMP_GT_OQ);
    return _mm512_mul_ps(values, _mm512_mask_sub_ps(tail, is_positive, one, tail));
}

// To 4e-4, and above zero to 1e-4 of what comes in, which bf16 cannot tell apart: the polynomial of least error between -4 and
// 4. What is below counts as -4, since what the polynomial says there of zero must not be multiplied by large numbers.
inline Floats gelu(Floats values, const BFloat16*) {
    const Floats raised = _mm512_max_ps(_mm512_set1_ps(-4.0f), values);
    const Floats within = _mm512_min_ps(_mm512_set1_ps(4.0f), raised);
    const Floats sum =
        polynomial(_mm512_mul_ps(within, within), {-1.30125488e-9f, 1.04193774e-7f, -3.65708161e-6f, 7.48544699e-5f,
                                                   -1.00648694e-3f, 9.50538740e-3f, -6.58878237e-2f, 3.98673385e-1f});
    return _mm512_mul_ps(raised, _mm512_fmadd_ps(sum, within, _mm512_set1_ps(0.5f)));
}

// x (1 + tanh u) / 2 is x / (1 + e^-2u), with u = sqrt(2 / pi) (x + 0.044715 x^3).
inline Floats gelu_tanh(Floats values) {
    const Floats slope = polynomial(_mm512_mul_ps(values, values), {-0.0713548163f, -1.59576912f});
    return _mm512_div_ps(values, _mm512_add_ps(_mm512_set1_ps(1.0f), exponential(_mm512_mul_ps(values, slope))));
}

// Numbered as in avx512.py.
enum Activation : int32_t { NONE, GELU, GELU_TANH, RELU };

template <class Value>
inline Floats activated(Floats values, int32_t activation) {
    switch (activation) {
        case GELU:
            return gelu(values, (const Value*)nullptr);
        case GELU_TANH:
            return gelu_tanh(values);
        case RELU:
            return _mm512_max_ps(_mm512_setzero_ps(), values);
        default:
            return values;
    }
}

// ------------------------------------------------------------------------------------------------------ the product

// Multiplies ROWS rows by the columns of a panel and calls keep(row, lane, sums) for every 16 sums: those of one row, counted
// from first, and of the panel's columns from a lane on.
template <class Product, int ROWS, class Keep>
inline void multiply_tile(const char* rows, int64_t stride, const char* panel, int64_t n_groups, int64_t first, Keep&& keep) {
    typename Product::Sums sums[ROWS][2] = {};
    for (int64_t group = 0; group < n_groups; ++group, panel += 4 * PANEL) {
        const Bytes left = _mm512_loadu_si512(panel), right = _mm512_loadu_si512(panel + 4 * LANES);
        _mm_prefetch(panel + BYTES_AHEAD, _MM_HINT_T0);
        _mm_prefetch(panel + BYTES_AHEAD + 4 * LANES, _MM_HINT_T0);
#pragma GCC unroll 16
        for (int row = 0; row < ROWS; ++row) {
            int32_t four_bytes;
            std::memcpy(&four_bytes, rows + row * stride + 4 * group, 4);
            const Bytes repeated = _mm512_set1_epi32(four_bytes);
            sums[row][0] = Product::add(sums[row][0], repeated, left);
            sums[row][1] = Product::add(sums[row][1], repeated, right);
        }
    }
#pragma GCC unroll 16
    for (int row = 0; row < ROWS; ++row) {
        keep(first + row, 0, sums[row][0]);
        keep(first + row, LANES, sums[row][1]);
    }
}

// The same for any number of rows, in tiles of as equal a height as can be.
template <class Product, class Keep>
void multiply(const void* rows, int64_t stride, int64_t n_rows, const char* panel, int64_t n_groups, Keep&& keep) {
    int64_t first = 0;
    for (int64_t n_tiles = (n_rows + MOST_ROWS - 1) / MOST_ROWS; n_tiles > 0; --n_tiles) {
        const int64_t height = (n_rows - first + n_tiles - 1) / n_tiles;
        const char* from = (const char*)rows + first * stride;
        static_assert(MOST_ROWS == 12, "each height has a case");
        // clang-format off
        switch (height) {
#define HEIGHT(n) case n: multiply_tile<Product, n>(from, stride, panel, n_groups, first, keep); break;
            HEIGHT(1) HEIGHT(2) HEIGHT(3) HEIGHT(4) HEIGHT(5) HEIGHT(6)
            HEIGHT(7) HEIGHT(8) HEIGHT(9) HEIGHT(10) HEIGHT(11) HEIGHT(12)
#undef HEIGHT
        }
        // clang-format on
        first += height;
    }
}

}  // namespace

// -------------------------------------------------------------------------------------------------------- the model

// Laid out and numbered as in avx512.py.

constexpr int32_t INTERFACE = 1;  // counted up with every change of what avx512.py sees

enum Kind : int32_t { FLOAT32, BFLOAT16, INT8 };

struct Dense {
    int64_t n_inputs, n_outputs;           // multiples of PANEL
    const char* panels;                    // of the weights
    const float* bias;                     // n_outputs
    const float* scales;                   // n_outputs, in int8: what the weights of a column are multiples of
    const int32_t* offsets;                // n_outputs, in int8: 128 times the sum of a column, since inputs are around 128
    const float* factors;                  // n_inputs, in int8: what inputs are multiplied by first; null for none
    const float *norm_weight, *norm_bias;  // n_outputs each, where the output is added to something and normalised
    float norm_epsilon;
    int32_t activation;
};

struct Layer {
    Dense query_key_value, output, feed_forward_in, feed_forward_out;
};

struct Encoder {
    int64_t n_layers, n_heads, width, feed_forward_width;
    const Layer* layers;
    int32_t kind;
};

namespace {

// Rounds a row times factors to unsigned bytes around 128 and returns its scale.
float quantise(const BFloat16* row, const float* factors, int64_t n, uint8_t* to) {
    const auto values = [&](int64_t i) { return factors ? _mm512_mul_ps(load(row + i), load(factors + i)) : load(row + i); };
    // The bits of numbers without sign are in the order of the numbers, and what is no number comes last.
    Bytes most = _mm512_setzero_si512();
    for (int64_t i = 0; i < n; i += LANES) most = _mm512_max_epi32(most, _mm512_castps_si512(_mm512_abs_ps(values(i))));
    const int32_t bits = _mm512_reduce_max_epi32(most);
    float largest;
    std::memcpy(&largest, &bits, 4);
    largest = std::max(largest, 1e-30f);  // of zeros alone
    const Floats factor = _mm512_set1_ps(127.0f / largest);
    for (int64_t i = 0; i < n; i += LANES) {
        const Bytes whole = _mm512_cvtps_epi32(_mm512_mul_ps(values(i), factor));
        _mm_storeu_si128((__m128i*)(to + i), _mm512_cvtepi32_epi8(_mm512_add_epi32(whole, _mm512_set1_epi32(128))));
    }
    return largest / 127.0f;
}

// Writes the normalised sum of a row of products and of what is added to it.
template <class Value>
void normalise(float* sums, const Value* residual, const Dense& dense, Value* to) {
    const int64_t n = dense.n_outputs;
    Floats total = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += LANES) {
        const Floats sum = _mm512_add_ps(load(sums + i), load(residual + i));
        total = _mm512_add_ps(total, sum);
        store(sums + i, sum);
    }
    const Floats mean = _mm512_set1_ps(_mm512_reduce_add_ps(total) / n);
    for (int64_t i = 0; i < n; i += LANES) {
        const Floats away = _mm512_sub_ps(load(sums + i), mean);
        squares = _mm512_fmadd_ps(away, away, squares);
    }
    const Floats factor = _mm512_set1_ps(1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / n + dense.norm_epsilon));
    for (int64_t i = 0; i < n; i += LANES) {
        const Floats normal = _mm512_mul_ps(_mm512_sub_ps(load(sums + i), mean), factor);
        store(to + i, _mm512_fmadd_ps(normal, load(dense.norm_weight + i), load(dense.norm_bias + i)));
    }
}

// What is made on the way from a layer's input to its output, for n tokens.
template <class Product, class Value = typename Product::Value>
struct Scratch {
    Value *query_key_value, *contexts, *attended, *inner;
    float *sums, *scales;
    uint8_t* bytes;
    int64_t size;

    Scratch(const Encoder& encoder, int64_t n, char* first) {
        char* end = first;
        const auto take = [&](auto*& part, int64_t count) {
            part = (std::remove_reference_t<decltype(part)>)end;
            end += (count * sizeof(*part) + 63) / 64 * 64;
        };
        take(query_key_value, 3 * n * encoder.width);
        take(contexts, n * encoder.width);
        take(attended, n * encoder.width);
        take(inner, n * encoder.feed_forward_width);
        take(sums, n * encoder.width);
        take(scales, n);
        take(bytes, Product::GROUP == 4 ? n * std::max(encoder.width, encoder.feed_forward_width) : 0);
        size = end - first;
    }
};

// ------------------------------------------------------------------------------------------- parts of a layer
// All threads of a team call each of them, and share its work.

// Writes the activated products; or, with a residual, the normalised sum of it and the products.
template <class Product>
void dense_layer(const Dense& dense, const typename Product::Value* input, int64_t n_rows,
                 const typename Product::Value* residual, typename Product::Value* output, const Scratch<Product>& scratch) {
    using Value = typename Product::Value;
    if (n_rows == 0) return;
    constexpr bool is_int8 = Product::GROUP == 4;
    const int64_t n_groups = dense.n_inputs / Product::GROUP, n_panels = dense.n_outputs / PANEL, stride = 4 * n_groups;
    // A task is some rows by some panels: rows as many as stay near, panels few enough that all threads have work.
    const int64_t block = std::max<int64_t>(1, BLOCK_BYTES / stride / MOST_ROWS) * MOST_ROWS,
                  n_blocks = (n_rows + block - 1) / block;
    const int64_t n_spans = std::min(n_panels, (4 * omp_get_num_threads() + n_blocks - 1) / n_blocks);
    const char* rows = is_int8 ? (const char*)scratch.bytes : (const char*)input;
    if constexpr (is_int8) {
#pragma omp for
        for (int64_t row = 0; row < n_rows; ++row) {
            const int64_t place = row * dense.n_inputs;
            scratch.scales[row] = quantise(input + place, dense.factors, dense.n_inputs, scratch.bytes + place);
        }
    }
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < n_blocks * n_spans; ++task) {
        const int64_t first = task / n_spans * block, span = task % n_spans;
        for (int64_t panel = n_panels * span / n_spans; panel < n_panels * (span + 1) / n_spans; ++panel) {
            const auto keep = [&](int64_t row, int lane, typename Product::Sums products) {
                const int64_t column = panel * PANEL + lane, place = (first + row) * dense.n_outputs + column;
                Floats values = load(dense.bias + column);
                if constexpr (is_int8) {
                    const Bytes whole = _mm512_sub_epi32((Bytes)products, _mm512_loadu_si512(dense.offsets + column));
                    const Floats scale =
                        _mm512_mul_ps(load(dense.scales + column), _mm512_set1_ps(scratch.scales[first + row]));
                    values = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, values);
                } else {
                    values = _mm512_add_ps(products, values);
                }
                if (residual)
                    store(scratch.sums + place, values);
                else
                    store(output + place, activated<Value>(values, dense.activation));
            };
            const char* columns = dense.panels + panel * n_groups * 4 * PANEL;
            multiply<Product>(rows + first * stride, stride, std::min(block, n_rows - first), columns, n_groups, keep);
        }
    }
    if (residual) {
#pragma omp for
        for (int64_t row = 0; row < n_rows; ++row) {
            const int64_t place = row * dense.n_outputs;
            normalise(scratch.sums + place, residual + place, dense, output + place);
        }
    }
}

// Where one head of one sequence stands among all queries, keys and values, which are laid out as token, kind, head, feature.
template <class Value>
struct Head {
    const Value *queries, *keys, *values;
    int64_t n_tokens, n_features, stride;  // features are whole panels

    Head(const Value* first, int64_t n_tokens, int64_t n_heads, int64_t n_features)
        : queries(first),
          keys(first + n_heads * n_features),
          values(keys + n_heads * n_features),
          n_tokens(n_tokens),
          n_features(n_features),
          stride(3 * n_heads * n_features) {}
};

// Lays out the keys as panels whose columns are tokens; behind the last come copies of it.
template <class Value>
void lay_out_keys(const Head<Value>& head, int64_t n_places, char* to) {
    const int64_t n_groups = head.n_features * sizeof(Value) / 4;
    for (int64_t place = 0; place < n_places; ++place) {
        const char* from = (const char*)(head.keys + std::min(place, head.n_tokens - 1) * head.stride);
        char* column = to + 4 * (place / PANEL * PANEL * n_groups + place % PANEL);
        for (int64_t group = 0; group < n_groups; ++group) std::memcpy(column + 4 * PANEL * group, from + 4 * group, 4);
    }
}

// Lay out the values as panels whose columns are features.
void lay_out_values(const Head<float>& head, char* to) {
    for (int64_t feature = 0; feature < head.n_features; feature += PANEL)
        for (int64_t token = 0; token < head.n_tokens; ++token, to += 4 * PANEL)
            std::memcpy(to, head.values + token * head.stride + feature, 4 * PANEL);
}

void lay_out_values(const Head<BFloat16>& head, char* to) {
    const auto bits = [&](int64_t token, int64_t feature) {
        if (token >= head.n_tokens) return _mm512_setzero_si512();
        return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(head.values + token * head.stride + feature)));
    };
    for (int64_t panel = 0; panel < head.n_features; panel += PANEL)
        for (int64_t token = 0; token < head.n_tokens; token += 2)
            for (int64_t feature = panel; feature < panel + PANEL; feature += LANES, to += 4 * LANES)
                _mm512_storeu_si512(to, _mm512_or_si512(bits(token, feature), _mm512_slli_epi32(bits(token + 1, feature), 16)));
}

// Turns scores into weights that do not yet sum to one, and returns what they have to be multiplied by.
template <class Value>
float weigh(float* scores, int64_t n_tokens, int64_t n_places, float scale, Value* weights) {
    std::fill(scores + n_tokens, scores + n_places, -INFINITY);
    Floats most = load(scores), total = _mm512_setzero_ps();
    for (int64_t i = LANES; i < n_places; i += LANES) most = _mm512_max_ps(most, load(scores + i));
    const Floats factor = _mm512_set1_ps(scale), largest = _mm512_set1_ps(_mm512_reduce_max_ps(most) * scale);
    for (int64_t i = 0; i < n_places; i += LANES) {
        const Floats weight = exponential(_mm512_fmsub_ps(load(scores + i), factor, largest));
        total = _mm512_add_ps(total, weight);
        store(weights + i, weight);
    }
    return 1.0f / _mm512_reduce_add_ps(total);
}

// Writes what one head makes of one sequence; contexts are laid out as token, head, feature.
template <class Product, class Value = typename Product::Value>
void attend_head(const Head<Value>& head, Value* contexts) {
    const int64_t n_places = (head.n_tokens + PANEL - 1) / PANEL * PANEL,
                  panel_bytes = n_places * head.n_features * sizeof(Value);
    thread_local std::vector<char> scratch;  // stays as long as the longest sequence needed it
    scratch.resize(2 * panel_bytes + MOST_ROWS * n_places * (sizeof(float) + sizeof(Value)));
    char *keys = scratch.data(), *values = keys + panel_bytes;
    float* scores = (float*)(values + panel_bytes);
    Value* weights = (Value*)(scores + MOST_ROWS * n_places);
    lay_out_keys(head, n_places, keys);
    lay_out_values(head, values);

    const int64_t n_key_groups = head.n_features / Product::GROUP,
                  n_value_groups = (head.n_tokens + Product::GROUP - 1) / Product::GROUP;
    const int64_t row_bytes = head.stride * sizeof(Value), context_stride = head.stride / 3;
    const float scale = 1.0f / std::sqrt((float)head.n_features);
    for (int64_t first = 0; first < head.n_tokens; first += MOST_ROWS) {
        const int64_t n_rows = std::min<int64_t>(MOST_ROWS, head.n_tokens - first);
        for (int64_t place = 0; place < n_places; place += PANEL)
            multiply<Product>(head.queries + first * head.stride, row_bytes, n_rows, keys + 4 * place * n_key_groups,
                              n_key_groups,
                              [&](int64_t row, int lane, Floats sums) { store(scores + row * n_places + place + lane, sums); });
        float shares[MOST_ROWS];
        for (int64_t row = 0; row < n_rows; ++row)
            shares[row] = weigh(scores + row * n_places, head.n_tokens, n_places, scale, weights + row * n_places);
        for (int64_t feature = 0; feature < head.n_features; feature += PANEL)
            multiply<Product>(weights, n_places * sizeof(Value), n_rows, values + 4 * feature * n_value_groups, n_value_groups,
                              [&](int64_t row, int lane, Floats sums) {
                                  Value* to = contexts + (first + row) * context_stride + feature + lane;
                                  store(to, _mm512_mul_ps(sums, _mm512_set1_ps(shares[row])));
                              });
    }
}

// Writes what all heads make of all sequences, which are the tokens between neighbouring ends.
template <class Product, class Value>
void attend(const Encoder& encoder, const Value* query_key_value, const int32_t* ends, int64_t n_sequences, Value* contexts) {
    const int64_t n_features = encoder.width / encoder.n_heads;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < n_sequences * encoder.n_heads; ++task) {
        const int64_t sequence = task / encoder.n_heads, offset = task % encoder.n_heads * n_features, start = ends[sequence];
        const Value* first = query_key_value + 3 * start * encoder.width + offset;
        const Head<Value> head(first, ends[sequence + 1] - start, encoder.n_heads, n_features);
        attend_head<Product>(head, contexts + start * encoder.width + offset);
    }
}

// Copies the rows wanted.
template <class Value>
void gather(const Value* from, const int64_t* rows, int64_t n_rows, int64_t width, Value* to) {
#pragma omp for
    for (int64_t row = 0; row < n_rows; ++row) std::copy_n(from + rows[row] * width, width, to + row * width);
}

template <class Product, class Value = typename Product::Value>
void encode(const Encoder& encoder, Value* states, int64_t n_states, int64_t n_tokens, const int32_t* ends, int64_t n_sequences,
            const int64_t* rows, int64_t n_rows, Value* output, char* space, int n_threads) {
    using Attention = std::conditional_t<Product::GROUP == 1, Float32Product, BFloat16Product>;
    const Scratch<Product> scratch(encoder, std::max(n_tokens, n_rows), space);
    const auto input = [&](int64_t layer) { return states + layer % n_states * n_tokens * encoder.width; };
#pragma omp parallel num_threads(n_threads)
    for (int64_t number = 0; number < encoder.n_layers; ++number) {
        const Layer& layer = encoder.layers[number];
        const bool is_last = number + 1 == encoder.n_layers;
        const Value *hidden = input(number), *contexts = scratch.contexts;
        int64_t n = n_tokens;
        dense_layer<Product>(layer.query_key_value, hidden, n, nullptr, scratch.query_key_value, scratch);
        attend<Attention>(encoder, scratch.query_key_value, ends, n_sequences, scratch.contexts);
        if (is_last && (rows || n_rows == 0)) {  // no rows may come as null too
            n = n_rows;
            Value *wanted_contexts = scratch.query_key_value, *wanted_hidden = wanted_contexts + n * encoder.width;
            gather(contexts, rows, n, encoder.width, wanted_contexts);
            gather(hidden, rows, n, encoder.width, wanted_hidden);
            contexts = wanted_contexts, hidden = wanted_hidden;
        }
        dense_layer<Product>(layer.output, contexts, n, hidden, scratch.attended, scratch);
        dense_layer<Product>(layer.feed_forward_in, scratch.attended, n, nullptr, scratch.inner, scratch);
        dense_layer<Product>(layer.feed_forward_out, scratch.inner, n, scratch.attended, is_last ? output : input(number + 1),
                             scratch);
    }
}

}  // namespace

extern "C" {

int32_t bertsmith_interface() { return INTERFACE; }

// Returns the bytes that bertsmith_encode needs for so many tokens, or rows where they are more.
int64_t bertsmith_scratch_bytes(const Encoder* encoder, int64_t n) {
    if (encoder->kind == FLOAT32) return Scratch<Float32Product>(*encoder, n, nullptr).size;
    if (encoder->kind == BFLOAT16) return Scratch<BFloat16Product>(*encoder, n, nullptr).size;
    return Scratch<Int8Product>(*encoder, n, nullptr).size;
}

// Runs all layers. Numbers are float32 of a float32 encoder, else bf16.
//
// states   n_states x n_tokens x width   the first is the input; the outputs of all layers but the last follow, over and over
// ends     n_sequences + 1               the tokens between neighbours are a sequence
// rows     n_rows                        those of the last layer that are wanted; null for all
// output   n_rows or n_tokens x width    of the last layer
void bertsmith_encode(const Encoder* encoder, void* states, int64_t n_states, int64_t n_tokens, const int32_t* ends,
                      int64_t n_sequences, const int64_t* rows, int64_t n_rows, void* output, void* scratch,
                      int32_t n_threads) {
    const auto with = [&](auto product) {
        using Product = decltype(product);
        using Value = typename Product::Value;
        encode<Product>(*encoder, (Value*)states, n_states, n_tokens, ends, n_sequences, rows, n_rows, (Value*)output,
                        (char*)scratch, n_threads);
    };
    if (encoder->kind == FLOAT32) return with(Float32Product{});
    if (encoder->kind == BFLOAT16) return with(BFloat16Product{});
    with(Int8Product{});
}
}
