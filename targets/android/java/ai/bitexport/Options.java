package ai.bitexport;

import java.io.ByteArrayOutputStream;

/**
 * How an answer is made. What is not set is as the model's own {@code generation_config.json} asks:
 * the same seed, options and history give the same tokens on every device.
 */
public final class Options {
    private static final int ALL = -1; // BITX_ALL
    private static final int NO_SHIFT = -1;
    static final int MOST_DRAFTED = 8; // BITX_MOST_DRAFTED
    private static final int MOST_STOPS = 16;
    private static final int MOST_STOP_TOKENS = 8;
    private static final int MOST_STOP_BYTES = 128;

    // The order of `numbers` in jni_session.c: which of the sampler are set, the sampler's, the
    // seed's two halves, then the answer's.
    private final int[] numbers = new int[19];
    private int[] stopTokens = {};
    private int[] stopSizes = {};
    private byte[] stopBytes = {};

    public Options() {
        numbers[11] = ALL;
        numbers[13] = NO_SHIFT;
    }

    private Options sampler(int index, int value) {
        numbers[0] |= 1 << index;
        numbers[1 + index] = value;
        return this;
    }

    private Options sampler(int index, String name, float value, boolean allowed, String says) {
        if (!allowed || Float.isNaN(value) || Float.isInfinite(value)) {
            throw new IllegalArgumentException(name + " is " + value + "; it is " + says);
        }
        return sampler(index, Float.floatToRawIntBits(value));
    }

    static int within(int least, int value, int most, String name) {
        if (value < least || value > most) {
            throw new IllegalArgumentException(
                    name + " is " + value + "; it is " + least + " to " + most);
        }
        return value;
    }

    /** 0: always the token with the largest logit. */
    public Options temperature(float value) {
        return sampler(0, "temperature", value, value >= 0, "0 or above");
    }

    /** At least 1. */
    public Options topK(int value) {
        return sampler(1, within(1, value, Integer.MAX_VALUE, "topK"));
    }

    /** Above 0, at most 1. */
    public Options topP(float value) {
        return sampler(2, "topP", value, value > 0 && value <= 1, "above 0, at most 1");
    }

    /** 0 to 1. */
    public Options minP(float value) {
        return sampler(3, "minP", value, value >= 0 && value <= 1, "0 to 1");
    }

    /** Above 0; 1: no penalty. */
    public Options repetition(float value) {
        return sampler(4, "repetition", value, value > 0, "above 0");
    }

    public Options presence(float value) {
        return sampler(5, "presence", value, true, "a number");
    }

    public Options frequency(float value) {
        return sampler(6, "frequency", value, true, "a number");
    }

    /** How many of the last tokens penalties look at. */
    public Options window(int tokens) {
        return sampler(7, within(0, tokens, Integer.MAX_VALUE, "window"));
    }

    public Options seed(long value) {
        numbers[9] = (int) value;
        numbers[10] = (int) (value >>> 32);
        return this;
    }

    /** At least 1. */
    public Options maxTokens(int count) {
        numbers[11] = within(1, count, Integer.MAX_VALUE, "maxTokens");
        return this;
    }

    /** Go on behind the model's own end-of-sequence tokens. */
    public Options ignoreEnds(boolean ignore) {
        numbers[12] = ignore ? 1 : 0;
        return this;
    }

    /** When the context is full: drop half of the tokens behind the first {@code keep}. */
    public Options shift(int keep) {
        numbers[13] = within(0, keep, Integer.MAX_VALUE, "keep");
        return this;
    }

    /** Guess so many tokens from the text so far; at most the session's own {@code draft}. */
    public Options draft(int tokens) {
        numbers[14] = within(0, tokens, MOST_DRAFTED, "draft");
        return this;
    }

    /** Control tokens are text too. */
    public Options showControl(boolean show) {
        numbers[15] = show ? 1 : 0;
        return this;
    }

    /** At most 8 tokens that end the answer, besides the model's own. */
    public Options stopTokens(int... tokens) {
        if (tokens.length > MOST_STOP_TOKENS) {
            throw new IllegalArgumentException("at most " + MOST_STOP_TOKENS + " stop tokens");
        }
        stopTokens = tokens.clone();
        numbers[17] = tokens.length;
        return this;
    }

    /** At most 16 texts that end the answer, which ends before them. */
    public Options stop(String... texts) {
        if (texts.length > MOST_STOPS) {
            throw new IllegalArgumentException("at most " + MOST_STOPS + " stop texts");
        }
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        stopSizes = new int[texts.length];
        for (int i = 0; i < texts.length; i++) {
            byte[] utf8 = texts[i].getBytes(Native.UTF_8);
            if (utf8.length < 1 || utf8.length > MOST_STOP_BYTES) {
                throw new IllegalArgumentException(
                        "a stop text has 1 to " + MOST_STOP_BYTES + " bytes of UTF-8");
            }
            stopSizes[i] = utf8.length;
            bytes.write(utf8, 0, utf8.length);
        }
        stopBytes = bytes.toByteArray();
        numbers[18] = texts.length;
        return this;
    }

    int start(long session, boolean continues) {
        int[] copy = numbers.clone();
        copy[16] = continues ? 1 : 0;
        return Native.start(session, copy, stopTokens, stopSizes, stopBytes);
    }
}
