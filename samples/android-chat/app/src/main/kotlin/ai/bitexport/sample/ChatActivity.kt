package ai.bitexport.sample

import ai.bitexport.BitexportModel
import ai.bitexport.Event
import ai.bitexport.Models
import ai.bitexport.Options
import ai.bitexport.Session
import ai.bitexport.SessionOptions
import ai.bitexport.chatFlow
import android.app.Activity
import android.os.Bundle
import android.os.Handler
import android.os.Looper
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.cancel
import kotlinx.coroutines.job
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import java.util.concurrent.Executor

/** A conversation with a model on the device: one field, one button, what was said. */
class ChatActivity : Activity() {
    // The main thread, with nothing but kotlinx-coroutines-core.
    private val main = Handler(Looper.getMainLooper())
    private val scope =
        CoroutineScope(SupervisorJob() + Executor { main.post(it) }.asCoroutineDispatcher())
    private lateinit var said: TextView
    private lateinit var field: EditText
    private lateinit var button: Button

    @Volatile
    private var model: BitexportModel? = null
    private var session: Session? = null
    private var answer: Job? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        said = TextView(this)
        field = EditText(this).apply { setHint(R.string.hint) }
        button = Button(this).apply {
            setText(R.string.say)
            isEnabled = false
            setOnClickListener { if (answer?.isActive == true) answer?.cancel() else say() }
        }
        val scroll = ScrollView(this).apply { addView(said) }
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                fitsSystemWindows = true // from Android 15 on, apps lie below the bars
                addView(scroll, LinearLayout.LayoutParams(LinearLayout.LayoutParams.MATCH_PARENT, 0, 1f))
                addView(field)
                addView(button)
            },
        )
        // When nothing computes any more.
        scope.coroutineContext.job.invokeOnCompletion { model?.close() }
        scope.launch { open() }
    }

    /** Copies the model out of the APK the first time, checked, and lets this device test itself. */
    private suspend fun open() {
        try {
            val tested = withContext(Dispatchers.IO) {
                val models = Models()
                val file = models.find(noBackupFilesDir)
                    ?: assets.open(models.name()).use { models.install(it, noBackupFilesDir) { _, _ -> } }
                val opened = BitexportModel.open(file)
                model = opened
                session = opened.newSession(SessionOptions().threads(4))
                opened.selfTest()
            }
            said.append("${model?.name()}: self-test $tested\n")
            button.isEnabled = tested.passed
        } catch (failure: Exception) {
            said.append("${failure.message}\n")
        }
    }

    private fun say() {
        val text = field.text.toString().ifEmpty { field.hint.toString() }
        val talking = session ?: return
        field.setText("")
        said.append("\n> $text\n")
        button.setText(R.string.stop)
        answer = scope.launch {
            try {
                talking.chatFlow(text, Options().maxTokens(200)).collect { event ->
                    said.append(event.text)
                    if (event.kind == Event.Kind.END) said.append("\n[${event.end}]\n")
                }
            } catch (stopped: CancellationException) {
                said.append("\n[stopped]\n")
                throw stopped
            } catch (failure: RuntimeException) {
                said.append("\n${failure.message}\n")
            } finally {
                button.setText(R.string.say)
            }
        }
    }

    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }
}
