package ai.bitexport;

import java.nio.ByteBuffer;
import java.nio.charset.Charset;

/** The library's entry points; what they take and say: jni_natives.h, beside their code. */
final class Native {
    static final Charset UTF_8 = Charset.forName("UTF-8");

    static final int OK = 0;
    static final int ARGUMENT = -1; // BITX_E_ARGUMENT
    static final int BARE = 1; // BITX_ENCODE_BARE

    static {
        System.loadLibrary("bitexport");
    }

    private Native() {}

    static native long openModel(byte[] path, int file, int[] out);

    static native void closeModel(long model);

    static native int checkModel(long model, int[] out);

    static native void facts(long model, int[] out);

    static native byte[] name(long model);

    static native byte[] statusName(int status);

    static native int instructionSets();

    static native byte[] instructionSetName(int bit);

    static native int[] encode(long model, byte[] utf8, int flags, int[] out);

    static native byte[] opOutputName(long model, int opOutput);

    static native int selfTest(long model, int threads, int[] out);

    static native long openSession(
            long model, int context, int chunk, int threads, int draft, int[] out);

    static native void closeSession(long session);

    static native void reset(long session);

    static native void cancel(long session);

    static native int[] tokens(long session);

    static native int giveTokens(long session, int[] tokens);

    static native int giveText(long session, byte[] utf8, int flags, int[] out);

    static native int giveChat(
            long session, int[] rolesAndBytes, byte[] contents, int after, int[] out);

    static native int start(
            long session, int[] numbers, int[] stopTokens, int[] stopSizes, byte[] stopBytes);

    static native int next(long session, int[] out, byte[] text);

    static native long saveSize(long session);

    static native int save(long session, ByteBuffer to);

    static native int restore(long session, ByteBuffer from);
}
