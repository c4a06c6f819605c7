//! Sets the linker flags that a Ruby extension needs on macOS and Windows; on Linux there are none.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    rb_sys_env::activate()?;
    Ok(())
}
