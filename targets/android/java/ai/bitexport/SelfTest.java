package ai.bitexport;

/** What the model's own test vectors say of this device. */
public final class SelfTest {
    /** Whether this device computed every bit that the reference computed. */
    public final boolean passed;

    /** How many positions were compared, or the first one that differs. */
    public final int position;

    /** Which output of an op, in the order of the plan, differs first; -1: none. */
    public final int opOutput;

    /** What the runtime calls the result. */
    public final String status;

    SelfTest(boolean passed, int position, int opOutput, String status) {
        this.passed = passed;
        this.position = position;
        this.opOutput = opOutput;
        this.status = status;
    }

    @Override
    public String toString() {
        if (passed) {
            return "passed: " + position + " positions are equal";
        }
        return status + " at position " + position + (opOutput < 0 ? "" : ", op output " + opOutput);
    }
}
