package ai.bitexport;

/** What the model's own test vectors say of this device. */
public final class SelfTest {
    /** Whether this device computed every bit that the reference computed. */
    public final boolean passed;

    /** How many positions were compared, or the first one that chose another token. */
    public final int position;

    /** Which op output differs first, as the plan calls it; null: none. */
    public final String opOutput;

    /** What the runtime calls the result. */
    public final String status;

    SelfTest(boolean passed, int position, String opOutput, String status) {
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
        return status + (opOutput == null ? " at position " + position : ": first in " + opOutput);
    }
}
