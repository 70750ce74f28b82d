import ai.bitexport.BitexportModel
import ai.bitexport.Event
import ai.bitexport.Options
import ai.bitexport.chatFlow
import ai.bitexport.generateFlow
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

const val PROMPT = "Once upon a time"

/** Flows in a JDK: to their end, left early, and cancelled while they compute. */
fun main(words: Array<String>) = runBlocking {
    BitexportModel.open(words[0]).use { model ->
        model.newSession().use { session ->
            val greedy = Options().temperature(0f)
            val events = session.generateFlow(PROMPT, Options().temperature(0f).maxTokens(24)).toList()
            println(events.count { it.kind == Event.Kind.END })
            println(session.tokens().toList())

            session.reset()
            println(session.generateFlow(PROMPT, greedy).take(6).toList().size)
            val held = session.tokens().size
            delay(50)
            println(session.tokens().size - held) // nothing is computed behind the last one taken

            session.reset()
            var seen = 0
            val endless = Options().temperature(0f).ignoreEnds(true).shift(4)
            val job = launch(Dispatchers.Default) {
                session.generateFlow(PROMPT, endless).collect { seen++ }
            }
            while (seen < 20) delay(1)
            withTimeout(5000) { job.cancel(); job.join() }
            val stopped = session.tokens().toList()
            delay(50)
            println(session.tokens().toList() == stopped)

            session.reset()
            val broken = session.generateFlow(PROMPT, endless)
            println(runCatching { broken.collect { error("the screen is gone") } }.exceptionOrNull()?.message)
            println(session.generateFlow(" The", Options().temperature(0f).maxTokens(2)).toList().size)

            session.reset()
            println(session.chatFlow("A dog.", Options().temperature(0f).maxTokens(4)).toList().size)
        }
    }
}
